// Products in half precision: exact where nothing is rounded, nearer than with
// operands in bf16 elsewhere, and the same for operands of any size, because each row and column
// has its factor.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/kernels/cpu_fp16.hpp"
#include "tests/unit/gpu/matrix.hpp"

namespace {

using namespace troupe::gpu;
using kernels::panel_columns;
using namespace troupe::test;

template <class Draw>
matrix drawn(std::size_t rows, std::size_t columns, const Draw& draw) {
  matrix m = zeros(rows, columns);
  std::ranges::generate(m.values, draw);
  return m;
}

const auto orders = boost::unit_test::data::make({1, 2});

/// addend + a b, with a's rows or ks side by side. Requires: a fits in one call of pack_rows.
matrix multiply(const kernels::fp16_kernels& cpu, int order, const matrix& a, const matrix& b,
                const matrix& addend) {
  const std::size_t k = a.columns;
  const std::size_t depth = kernels::fp16_depth(k);
  const std::size_t panels = (b.columns + panel_columns - 1) / panel_columns;
  std::vector<std::uint32_t> packed_panels(panels * panel_columns * depth);
  for (std::size_t panel = 0; panel < panels; ++panel) {
    const std::size_t column = panel * panel_columns;
    cpu.pack_panel(
        {b.values.data() + column, k, std::min(panel_columns, b.columns - column), b.columns, 1},
        packed_panels.data() + column * depth);
  }
  std::vector<std::uint32_t> packed_rows((a.rows + kernels::packed_row_step) * depth);
  const bool by_row = static_cast<kernels::packing>(order) == kernels::packing::by_row;
  const matrix stored = by_row ? a : transposed(a);
  const std::size_t k_stride = by_row ? 1 : a.rows;
  cpu.pack_rows({stored.values.data(), a.rows, k, by_row ? k : 1, k_stride}, packed_rows.data());
  matrix c = addend;
  cpu.multiply({a.rows, k, b.columns, kernels::packing_of(k_stride), packed_rows.data(),
                packed_panels.data(), c.values.data(), c.values.data(), b.columns});
  return c;
}

const kernels::fp16_kernels* kernels_or_skip() {
  const kernels::fp16_kernels* const cpu = kernels::fp16_for_this_cpu();
  if (cpu == nullptr) BOOST_TEST_MESSAGE("skipped: this processor does not compute with fp16");
  return cpu;
}

BOOST_DATA_TEST_CASE(small_integers_are_multiplied_exactly, orders, order) {
  const auto* const cpu = kernels_or_skip();
  if (cpu == nullptr) return;
  std::mt19937 random(7);
  const auto integer = [&] { return static_cast<float>(random() % 7) - 3; };
  for (const std::size_t m : {1U, 5U, 9U, 12U, 13U, 192U})
    for (const std::size_t k : {1U, 16U, 31U, 33U, 64U, 100U, 512U})
      for (const std::size_t n : {1U, 16U, 31U, 33U, 64U, 97U}) {
        const matrix a = drawn(m, k, integer);
        const matrix b = drawn(k, n, integer);
        const matrix start = drawn(m, n, integer);
        const matrix c = multiply(*cpu, order, a, b, start);
        for (std::size_t row = 0; row < m; ++row)
          for (std::size_t column = 0; column < n; ++column) {
            float sum = start.at(row, column);
            for (std::size_t i = 0; i < k; ++i)
              sum += a.at(row, i) * b.at(i, column);
            BOOST_TEST_REQUIRE(c.at(row, column) == sum);
          }
      }
}

BOOST_DATA_TEST_CASE(errors_are_smaller_than_those_of_bf16, orders, order) {
  const auto* const cpu = kernels_or_skip();
  if (cpu == nullptr) return;
  std::mt19937 random(1);
  const matrix a = normal_matrix(50, 512, random);
  const matrix b = normal_matrix(512, 60, random);
  const matrix c = multiply(*cpu, order, a, b, zeros(50, 60));
  double off = 0;
  double all = 0;
  for (std::size_t row = 0; row < a.rows; ++row)
    for (std::size_t column = 0; column < b.columns; ++column) {
      double sum = 0;
      for (std::size_t i = 0; i < a.columns; ++i)
        sum += static_cast<double>(a.at(row, i)) * static_cast<double>(b.at(i, column));
      off += std::pow(static_cast<double>(c.at(row, column)) - sum, 2);
      all += sum * sum;
    }
  // Rounding to bf16's eight makes it 2.4e-3.
  BOOST_TEST(std::sqrt(off / all) < 1.8e-3);
}

/// Powers of two from 2^-50 to 2^50.
float far_factor(std::mt19937& random) {
  return std::ldexp(1.0F, static_cast<int>(random() % 101) - 50);
}

BOOST_DATA_TEST_CASE(rows_and_columns_may_be_of_any_size, orders, order) {
  const auto* const cpu = kernels_or_skip();
  if (cpu == nullptr) return;
  std::mt19937 random(2);
  matrix a = normal_matrix(30, 200, random);
  matrix b = normal_matrix(200, 70, random);
  const matrix near = multiply(*cpu, order, a, b, zeros(30, 70));
  std::vector<float> of_row(a.rows);
  std::vector<float> of_column(b.columns);
  std::ranges::generate(of_row, [&] { return far_factor(random); });
  std::ranges::generate(of_column, [&] { return far_factor(random); });
  for (std::size_t i = 0; i < a.columns; ++i) {
    for (std::size_t row = 0; row < a.rows; ++row)
      a.at(row, i) *= of_row[row];
    for (std::size_t column = 0; column < b.columns; ++column)
      b.at(i, column) *= of_column[column];
  }
  const matrix far = multiply(*cpu, order, a, b, zeros(30, 70));
  for (std::size_t row = 0; row < a.rows; ++row)
    for (std::size_t column = 0; column < b.columns; ++column) {
      const double expected = static_cast<double>(near.at(row, column)) *
                              static_cast<double>(of_row[row]) *
                              static_cast<double>(of_column[column]);
      BOOST_TEST_REQUIRE(static_cast<double>(far.at(row, column)) == expected);
    }
}

BOOST_DATA_TEST_CASE(what_is_not_a_number_stays_in_its_row_and_column, orders, order) {
  const auto* const cpu = kernels_or_skip();
  if (cpu == nullptr) return;
  std::mt19937 random(3);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    matrix a = normal_matrix(14, 40, random);
    matrix b = normal_matrix(40, 34, random);
    const matrix good = multiply(*cpu, order, a, b, zeros(14, 34));
    a.at(3, 17) = bad;
    b.at(5, 33) = -bad;
    const matrix c = multiply(*cpu, order, a, b, zeros(14, 34));
    for (std::size_t row = 0; row < a.rows; ++row)
      for (std::size_t column = 0; column < b.columns; ++column) {
        const bool is_hit = row == 3 || column == 33;
        BOOST_TEST_REQUIRE(std::isfinite(c.at(row, column)) == !is_hit);
        if (!is_hit) BOOST_TEST_REQUIRE(c.at(row, column) == good.at(row, column));
      }
  }
}

BOOST_DATA_TEST_CASE(rows_of_zeros_leave_the_addend, orders, order) {
  const auto* const cpu = kernels_or_skip();
  if (cpu == nullptr) return;
  std::mt19937 random(4);
  const matrix start = normal_matrix(3, 40, random);
  const matrix c = multiply(*cpu, order, zeros(3, 70), normal_matrix(70, 40, random), start);
  BOOST_TEST(c.values == start.values, boost::test_tools::per_element());
}

}  // namespace
