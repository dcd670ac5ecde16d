// Products of strided operands against sums in double, and the promise that nothing but its own row
// and column decides the bits of an element.

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/bf16.hpp"
#include "gpu/parallel.hpp"
#include "gpu/torch/product.hpp"

namespace {

using namespace troupe::gpu;

std::vector<float> random_values(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return normal(random); });
  return values;
}

/// Products and sums of these are exact in any type of compute.
std::vector<float> small_integers(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return static_cast<float>(random() % 7) - 3; });
  return values;
}

enum class stored { by_rows, by_columns };

/// Operands of one product, each stored either way.
struct example {
  std::size_t m, n, k;
  stored a_layout = stored::by_rows;
  stored b_layout = stored::by_rows;
  std::vector<float> a = random_values(m * k, 1);
  std::vector<float> b = random_values(k * n, 2);

  float a_at(std::size_t i, std::size_t p) const {
    return a_layout == stored::by_rows ? a[i * k + p] : a[p * m + i];
  }
  float b_at(std::size_t p, std::size_t j) const {
    return b_layout == stored::by_rows ? b[p * n + j] : b[j * k + p];
  }
  strided_product into(std::vector<float>& c, const float* addend) const {
    const bool a_by_rows = a_layout == stored::by_rows;
    const bool b_by_rows = b_layout == stored::by_rows;
    return {m,
            n,
            k,
            a.data(),
            a_by_rows ? k : 1,
            a_by_rows ? 1 : m,
            b.data(),
            b_by_rows ? n : 1,
            b_by_rows ? 1 : k,
            addend,
            c.data(),
            n};
  }
  std::vector<float> product(std::size_t num_threads) const {
    thread_pool pool(num_threads);
    const pool_scope scope(&pool);
    std::vector<float> c(m * n, 7.0F);
    multiply(into(c, nullptr));
    return c;
  }
};

/// Some elements are enough: every block, piece and edge has one.
void check_elements(const example& e, const std::vector<float>& c, float added, double tolerance) {
  std::mt19937 random(3);
  for (int i = 0; i < 400; ++i) {
    const std::size_t row = i < 2 ? (e.m - 1) * static_cast<std::size_t>(i) : random() % e.m;
    const std::size_t column = i < 2 ? (e.n - 1) * static_cast<std::size_t>(i) : random() % e.n;
    double sum = static_cast<double>(added);
    for (std::size_t p = 0; p < e.k; ++p)
      sum += static_cast<double>(e.a_at(row, p)) * static_cast<double>(e.b_at(p, column));
    const double error = std::abs(static_cast<double>(c[row * e.n + column]) - sum);
    BOOST_TEST_REQUIRE(error <= tolerance);
  }
}

const auto types = boost::unit_test::data::make({0, 1});

/// body(example) for every block, piece and edge, in all layouts.
template <class Body>
void for_examples(const Body& body) {
  constexpr std::array layouts{stored::by_rows, stored::by_columns};
  for (const auto& [m, n, k] : {std::array<std::size_t, 3>{1, 1, 1},
                                {13, 33, 300},
                                {200, 70, 17},
                                {4109, 40, 9},
                                {25, 4131, 260},
                                {16, 96, 700},
                                {33, 320, 1100},
                                {97, 64, 2600}})
    for (const stored a_layout : layouts)
      for (const stored b_layout : layouts)
        body(example{m, n, k, a_layout, b_layout});
}

void check_products(const example& e, double tolerance) {
  check_elements(e, e.product(2), 0, tolerance);
  std::vector<float> c(e.m * e.n, 1.0F);
  multiply(e.into(c, c.data()));
  check_elements(e, c, 1, tolerance);
}

BOOST_AUTO_TEST_CASE(products_are_sums_of_their_operands) {
  for_examples([](const example& e) { check_products(e, 1e-5 * static_cast<double>(e.k)); });
}

BOOST_DATA_TEST_CASE(what_needs_no_rounding_is_exact, types, type) {
  const product_scope scope(static_cast<compute_type>(type));
  for_examples([](example e) {
    e.a = small_integers(e.a.size(), 4);
    e.b = small_integers(e.b.size(), 5);
    check_products(e, 0);
  });
}

/// The product in double, of operands as `of` gives them.
template <class Of>
std::vector<double> wide_product(const example& e, const Of& of) {
  std::vector<double> sums(e.m * e.n);
  for (std::size_t row = 0; row < e.m; ++row)
    for (std::size_t column = 0; column < e.n; ++column)
      for (std::size_t p = 0; p < e.k; ++p)
        sums[row * e.n + column] += of(e.a_at(row, p)) * of(e.b_at(p, column));
  return sums;
}

/// Root of the mean square of what numbers are off, in the exact ones' own size.
template <class Number>
double distance(const std::vector<Number>& numbers, const std::vector<double>& exact) {
  double off = 0;
  double all = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double error = static_cast<double>(numbers[i]) - exact[i];
    off += error * error;
    all += exact[i] * exact[i];
  }
  return std::sqrt(off / all);
}

BOOST_AUTO_TEST_CASE(bf16_loses_no_more_than_its_operands_eight_bits) {
  const product_scope scope(compute_type::bf16);
  const example e{60, 70, 1100};
  const auto exact = wide_product(e, [](float value) { return static_cast<double>(value); });
  const auto rounded =
      wide_product(e, [](float value) { return static_cast<double>(from_bf16(to_bf16(value))); });
  const double lost = distance(e.product(2), exact);
  const double allowed = distance(rounded, exact);
  BOOST_TEST_MESSAGE("lost " << lost << " of " << allowed);
  BOOST_TEST(lost <= 1.01 * allowed);
  // Not fp32 under another name.
  BOOST_TEST(lost >= 1e-5);
}

BOOST_DATA_TEST_CASE(bits_depend_on_neither_threads_nor_layouts, types, type) {
  const product_scope scope(static_cast<compute_type>(type));
  const example rows{150, 90, 700};
  const auto expected = rows.product(1);
  BOOST_TEST((rows.product(2) == expected));
  BOOST_TEST((rows.product(3) == expected));
  example columns{150, 90, 700, stored::by_columns, stored::by_columns};
  for (std::size_t p = 0; p < rows.k; ++p) {
    for (std::size_t i = 0; i < rows.m; ++i)
      columns.a[p * rows.m + i] = rows.a_at(i, p);
    for (std::size_t j = 0; j < rows.n; ++j)
      columns.b[j * rows.k + p] = rows.b_at(p, j);
  }
  BOOST_TEST((columns.product(2) == expected));
}

BOOST_DATA_TEST_CASE(a_row_has_the_same_bits_alone, types, type) {
  const product_scope scope(static_cast<compute_type>(type));
  const example all{121, 45, 600};
  const auto expected = all.product(2);
  for (const std::size_t row : {0U, 11U, 12U, 95U, 96U, 120U}) {
    std::vector<float> alone(all.n);
    strided_product one = all.into(alone, nullptr);
    one.m = 1;
    one.a += row * all.k;
    multiply(one);
    BOOST_TEST(std::ranges::equal(alone, std::span(expected).subspan(row * all.n, all.n)));
  }
}

BOOST_AUTO_TEST_CASE(a_sum_over_nothing_is_the_addend) {
  std::vector<float> c{1, 2, 3, 4};
  strided_product nothing{2, 2, 0, nullptr, 0, 1, nullptr, 0, 1, c.data(), c.data(), 2};
  multiply(nothing);
  BOOST_TEST((c == std::vector<float>{1, 2, 3, 4}));
  nothing.addend = nullptr;
  multiply(nothing);
  BOOST_TEST((c == std::vector<float>(4)));
}

}  // namespace
