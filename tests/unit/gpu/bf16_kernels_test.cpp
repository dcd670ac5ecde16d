// Products of operands rounded to bf16, against sums in double of the same rounded operands.

#include <cmath>
#include <random>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/bf16.hpp"
#include "gpu/kernels/cpu_bf16.hpp"
#include "tests/unit/gpu/matrix.hpp"

namespace {

using namespace troupe::gpu;
using kernels::panel_columns;
using troupe::test::matrix;
using troupe::test::normal_matrix;
using troupe::test::transposed;

enum class stored { by_rows, by_columns };
std::ostream& operator<<(std::ostream& out, stored how) {
  return out << (how == stored::by_rows ? "by rows" : "by columns");
}

const auto layouts = boost::unit_test::data::make({stored::by_rows, stored::by_columns});

std::vector<float> multiply(const kernels::bf16_kernels& cpu, const matrix& a, stored a_layout,
                            const matrix& b, stored b_layout, const std::vector<float>& addend) {
  const std::size_t k = a.columns;
  const matrix a_stored = a_layout == stored::by_rows ? a : transposed(a);
  const matrix b_stored = b_layout == stored::by_rows ? b : transposed(b);
  std::vector<std::uint32_t> panel((k + 1) / 2 * panel_columns);
  std::vector<std::uint32_t> rows(a.rows * ((k + 1) / 2));
  const bool b_by_rows = b_layout == stored::by_rows;
  cpu.pack_panel(
      {b_stored.values.data(), k, b.columns, b_by_rows ? b.columns : 1, b_by_rows ? 1 : k},
      panel.data());
  const bool a_by_rows = a_layout == stored::by_rows;
  cpu.pack_rows({a_stored.values.data(), a.rows, k, a_by_rows ? k : 1, a_by_rows ? 1 : a.rows},
                rows.data());
  std::vector<float> c = addend;
  c.resize(a.rows * b.columns);
  cpu.multiply({a.rows, (k + 1) / 2, b.columns, rows.data(), panel.data(),
                addend.empty() ? nullptr : c.data(), c.data(), b.columns});
  return c;
}

double rounded(float value) {
  return static_cast<double>(from_bf16(to_bf16(value)));
}

BOOST_DATA_TEST_CASE(products_are_those_of_rounded_operands, layouts* layouts, a_layout, b_layout) {
  const kernels::bf16_kernels* const cpu = kernels::bf16_of_this_cpu();
  if (cpu == nullptr) {
    BOOST_TEST_MESSAGE("skipped: this processor has no bf16 products");
    return;
  }
  std::mt19937 random(7);
  for (const std::size_t m : {1U, 5U, 12U, 13U, 96U})
    for (const std::size_t k : {1U, 2U, 7U, 33U, 512U})
      for (const std::size_t n : {1U, 15U, 16U, 17U, 32U}) {
        const matrix a = normal_matrix(m, k, random);
        const matrix b = normal_matrix(k, n, random);
        const matrix start = normal_matrix(m, n, random);
        const auto plain = multiply(*cpu, a, a_layout, b, b_layout, {});
        const auto added = multiply(*cpu, a, a_layout, b, b_layout, start.values);
        for (std::size_t row = 0; row < m; ++row)
          for (std::size_t column = 0; column < n; ++column) {
            double sum = 0;
            for (std::size_t i = 0; i < k; ++i)
              sum += rounded(a.at(row, i)) * rounded(b.at(i, column));
            const std::size_t at = row * n + column;
            BOOST_TEST_REQUIRE(std::abs(static_cast<double>(plain[at]) - sum) <= 1e-4);
            BOOST_TEST_REQUIRE((added[at] == plain[at] + start.values[at]));
          }
      }
}

}  // namespace
