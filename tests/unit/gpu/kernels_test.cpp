// Every table of kernels against plain loops in double.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "messages/state_digest.hpp"

namespace {

using namespace troupe;
namespace k = gpu::kernels;

std::vector<std::size_t> table_indices() {
  std::vector<std::size_t> indices(k::num_tables());
  std::iota(indices.begin(), indices.end(), 0U);
  return indices;
}

const auto tables = boost::unit_test::data::make(table_indices());

std::vector<float> random_values(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values)
    value = normal(random);
  return values;
}

double wide(float x) {
  return static_cast<double>(x);
}

/// c [m, n] by plain sums; a is [m, k], b is [k, n].
std::vector<double> plain_product(const std::vector<float>& a, const std::vector<float>& b,
                                  std::size_t m, std::size_t n, std::size_t depth) {
  std::vector<double> c(m * n);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t p = 0; p < depth; ++p)
        c[i * n + j] += wide(a[i * depth + p]) * wide(b[p * n + j]);
  return c;
}

BOOST_DATA_TEST_CASE(products_agree_at_every_edge, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  for (const std::size_t m : {1U, 2U, 11U, 12U, 13U, 25U})
    for (const std::size_t n : {1U, 31U, 32U})
      for (const std::size_t depth : {1U, 17U, 64U}) {
        const auto a = random_values(m * depth, 1);
        const auto b = random_values(depth * n, 2);
        const auto expected = plain_product(a, b, m, n, depth);
        std::vector<float> panel(depth * k::panel_columns, 7.0F);
        cpu.pack_panel({b.data(), depth, n, n, 1}, panel.data());
        std::vector<float> c(m * n, 1.0F);
        cpu.multiply_panel(
            {m, depth, n, {a.data(), depth, 1}, panel.data(), c.data(), c.data(), n});
        for (std::size_t i = 0; i < c.size(); ++i)
          BOOST_REQUIRE(std::abs(wide(c[i]) - 1 - expected[i]) < 1e-4);
      }
}

BOOST_DATA_TEST_CASE(transposed_operands_give_the_same_bits, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t m = 14;
  const std::size_t n = 20;
  const std::size_t depth = 33;
  const auto a = random_values(m * depth, 3);
  const auto b = random_values(depth * n, 4);
  std::vector<float> a_turned(a.size());
  std::vector<float> b_turned(b.size());
  for (std::size_t p = 0; p < depth; ++p) {
    for (std::size_t i = 0; i < m; ++i)
      a_turned[p * m + i] = a[i * depth + p];
    for (std::size_t j = 0; j < n; ++j)
      b_turned[j * depth + p] = b[p * n + j];
  }
  std::vector<float> panel(depth * k::panel_columns);
  std::vector<float> plain(m * n);
  std::vector<float> turned(m * n);
  cpu.pack_panel({b.data(), depth, n, n, 1}, panel.data());
  cpu.multiply_panel({m, depth, n, {a.data(), depth, 1}, panel.data(), nullptr, plain.data(), n});
  cpu.pack_panel({b_turned.data(), depth, n, 1, depth}, panel.data());
  cpu.multiply_panel(
      {m, depth, n, {a_turned.data(), 1, m}, panel.data(), nullptr, turned.data(), n});
  BOOST_TEST((plain == turned));
  std::vector<float> packed(m * depth);
  for (const k::row_source& source : {k::row_source{a.data(), m, depth, depth, 1},
                                      k::row_source{a_turned.data(), m, depth, 1, m}}) {
    std::ranges::fill(turned, 0.0F);
    cpu.pack_rows(source, packed.data());
    cpu.multiply_panels({m,
                         depth,
                         n,
                         {packed.data(), 0, 0, k::packing_of(source.k_stride)},
                         panel.data(),
                         nullptr,
                         turned.data(),
                         n});
    BOOST_TEST((plain == turned));
    if (k::packing_of(source.k_stride) != k::packing::by_row) continue;
    std::ranges::fill(turned, 0.0F);
    cpu.multiply_panel({m,
                        depth,
                        n,
                        {packed.data(), 0, 0, k::packing::by_row},
                        panel.data(),
                        nullptr,
                        turned.data(),
                        n});
    BOOST_TEST((plain == turned));
  }
}

BOOST_DATA_TEST_CASE(panels_of_bf16_give_the_bits_of_widened_ones, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t depth = 35;
  std::vector<std::uint16_t> bits(depth * k::panel_columns);
  std::mt19937 random(9);
  for (std::uint16_t& each : bits)
    each = gpu::to_bf16(std::normal_distribution<float>()(random));
  std::vector<float> wide(bits.size());
  cpu.widen_bf16(bits.size(), bits.data(), wide.data());
  for (const std::size_t m : {1U, 3U, 8U, 12U, 29U})
    for (const std::size_t n : {32U, 7U}) {
      const auto a = random_values(m * depth, 5);
      const auto residual = random_values(m * n, 6);
      std::vector<float> expected(m * n);
      std::vector<float> given(m * n);
      cpu.multiply_panel(
          {m, depth, n, {a.data(), depth, 1}, wide.data(), residual.data(), expected.data(), n});
      std::vector<float> packed(a.size());
      cpu.pack_rows({a.data(), m, depth, depth, 1}, packed.data());
      cpu.multiply_bf16_panel({m,
                               depth,
                               n,
                               {packed.data(), 0, 0, k::packing::by_row},
                               bits.data(),
                               residual.data(),
                               given.data(),
                               n});
      BOOST_TEST((given == expected));
    }
}

BOOST_DATA_TEST_CASE(packing_rounds_as_bf16_conversion_does, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t rows = 14;
  const std::size_t depth = 35;
  auto from = random_values(rows * depth, 8);
  constexpr std::array special{0.0F,
                               -0.0F,
                               1e-40F,
                               3.4e38F,
                               -3.4e38F,
                               1.00390625F,
                               1.01171875F,
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  std::ranges::copy(special, from.begin() + 20);
  auto expected = from;
  for (float& value : expected)
    value = gpu::from_bf16(gpu::to_bf16(value));
  const auto bits = [](const std::vector<float>& values) {
    std::vector<std::uint32_t> out;
    for (const float value : values)
      out.push_back(std::bit_cast<std::uint32_t>(value));
    return out;
  };
  const auto packed_rows = [&](const std::vector<float>& values, std::size_t row_stride,
                               std::size_t k_stride, k::rounding to) {
    std::vector<float> packed(values.size());
    cpu.pack_rows({values.data(), rows, depth, row_stride, k_stride, to}, packed.data());
    return bits(packed);
  };
  const auto panel = [&](const std::vector<float>& values, std::size_t k_stride,
                         std::size_t column_stride, k::rounding to) {
    std::vector<float> packed(depth * k::panel_columns);
    cpu.pack_panel({values.data(), depth, rows, k_stride, column_stride, to}, packed.data());
    return bits(packed);
  };
  for (const auto& [row_stride, k_stride] : {std::pair{depth, std::size_t{1}}, {1U, rows}}) {
    BOOST_TEST((packed_rows(from, row_stride, k_stride, k::rounding::bf16) ==
                packed_rows(expected, row_stride, k_stride, k::rounding::none)));
    BOOST_TEST((panel(from, k_stride, row_stride, k::rounding::bf16) ==
                panel(expected, k_stride, row_stride, k::rounding::none)));
  }
}

BOOST_DATA_TEST_CASE(a_row_does_not_depend_on_its_neighbours, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t m = 40;
  const std::size_t depth = 50;
  const auto a = random_values(m * depth, 5);
  const auto b = random_values(depth * k::panel_columns, 6);
  std::vector<float> together(m * k::panel_columns);
  cpu.multiply_panel({m,
                      depth,
                      k::panel_columns,
                      {a.data(), depth, 1},
                      b.data(),
                      nullptr,
                      together.data(),
                      k::panel_columns});
  for (std::size_t rows = 1; rows <= 13; ++rows)
    for (std::size_t row = 0; row + rows <= m; ++row) {
      std::vector<float> part(rows * k::panel_columns);
      cpu.multiply_panel({rows,
                          depth,
                          k::panel_columns,
                          {a.data() + row * depth, depth, 1},
                          b.data(),
                          nullptr,
                          part.data(),
                          k::panel_columns});
      BOOST_REQUIRE(
          std::equal(part.begin(), part.end(),
                     together.begin() + static_cast<std::ptrdiff_t>(row * k::panel_columns)));
    }
}

BOOST_DATA_TEST_CASE(exponentials_are_accurate, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  for (float x = -86.0F; x < 87.0F; x += 0.37F) {
    float value = x;
    cpu.exponentials(1, 0.0F, &value);
    BOOST_REQUIRE(std::abs(wide(value) / std::exp(wide(x)) - 1) < 3e-7);
  }
  const auto row = random_values(1001, 7);
  double sum = 0;
  for (const float x : row)
    sum += std::exp(wide(x));
  BOOST_TEST(std::abs(wide(cpu.log_sum_exp(row.size(), row.data())) - std::log(sum)) < 2e-6);
}

/// Slope of sum(up * f(x)) along x[i].
template <class Function>
double slope(const std::vector<float>& x, std::size_t i, const std::vector<float>& up,
             const Function& f) {
  double total = 0;
  for (const float sign : {1.0F, -1.0F}) {
    auto moved = x;
    moved[i] += sign * 0x1p-8F;
    const std::vector<float> y = f(moved);
    for (std::size_t j = 0; j < y.size(); ++j)
      total += wide(sign) * wide(up[j]) * wide(y[j]);
  }
  return total / 0x1p-7;
}

BOOST_DATA_TEST_CASE(norm_gradients_are_slopes, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t width = 22;
  const auto x = random_values(width, 8);
  const auto weight = random_values(width, 9);
  const auto up = random_values(width, 10);
  const auto forward = [&](const std::vector<float>& from) {
    std::vector<float> y(width);
    float rstd = 0;
    cpu.rms_norm(1, width, from.data(), weight.data(), 1e-6F, y.data(), &rstd);
    return y;
  };
  std::vector<float> y(width);
  float rstd = 0;
  cpu.rms_norm(1, width, x.data(), weight.data(), 1e-6F, y.data(), &rstd);
  std::vector<float> dx(width, 0.5F);
  std::vector<float> weight_gradient(width, 0.25F);
  cpu.rms_norm_backward(1, width, x.data(), weight.data(), &rstd, up.data(), dx.data(),
                        weight_gradient.data());
  for (std::size_t i = 0; i < width; ++i) {
    BOOST_REQUIRE(std::abs(slope(x, i, up, forward) + 0.5 - wide(dx[i])) < 1e-3);
    BOOST_REQUIRE(std::abs(wide(up[i] * x[i] * rstd) + 0.25 - wide(weight_gradient[i])) < 1e-5);
  }
}

BOOST_DATA_TEST_CASE(rotation_gradients_are_slopes, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t dim = 10;
  const auto x = random_values(dim, 11);
  const auto weight = random_values(dim, 12);
  const auto up = random_values(dim, 13);
  std::vector<float> cosine;
  std::vector<float> sine;
  for (std::size_t i = 0; i < dim / 2; ++i) {
    cosine.push_back(std::cos(static_cast<float>(i) + 0.3F));
    sine.push_back(std::sin(static_cast<float>(i) + 0.3F));
  }
  const auto forward = [&](const std::vector<float>& from) {
    std::vector<float> y(dim);
    cpu.norm_rotate(dim, from.data(), weight.data(), 1e-6F, cosine.data(), sine.data(), y.data());
    return y;
  };
  std::vector<float> y(dim);
  const float rstd =
      cpu.norm_rotate(dim, x.data(), weight.data(), 1e-6F, cosine.data(), sine.data(), y.data());
  auto gradient = up;
  std::vector<float> weight_gradient(dim);
  cpu.norm_rotate_backward(dim, x.data(), weight.data(), rstd, cosine.data(), sine.data(),
                           gradient.data(), weight_gradient.data());
  for (std::size_t i = 0; i < dim; ++i)
    BOOST_REQUIRE(std::abs(slope(x, i, up, forward) - wide(gradient[i])) < 1e-3);
}

BOOST_DATA_TEST_CASE(swiglu_gradients_are_slopes, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  const std::size_t width = 19;
  const auto x = random_values(2 * width, 14);
  const auto up = random_values(width, 15);
  const auto forward = [&](const std::vector<float>& from) {
    std::vector<float> y(width);
    cpu.swiglu(width, from.data(), from.data() + width, y.data());
    return y;
  };
  auto gradient = x;
  auto made_again = up;
  cpu.swiglu_backward(1, width, made_again.data(), gradient.data());
  for (std::size_t i = 0; i < 2 * width; ++i)
    BOOST_REQUIRE(std::abs(slope(x, i, up, forward) - wide(gradient[i])) < 1e-3);
  BOOST_TEST(made_again == forward(x), boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE(digest_is_the_shared_one, tables, index) {
  const auto values = random_values(1000, 16);
  state_digest expected;
  add_elements(expected, 37, 123'456'789'012, std::span<const float>(values));
  const auto actual = k::table(index).digest(37, 123'456'789'012, values.size(), values.data());
  BOOST_TEST(actual.low == expected.low);
  BOOST_TEST(actual.high == expected.high);
}

BOOST_DATA_TEST_CASE(squares_are_summed_in_double, tables, index) {
  for (const std::size_t count : {0U, 1U, 31U, 64U, 1000U}) {
    const auto values = random_values(count, 40);
    const double expected =
        std::accumulate(values.begin(), values.end(), 0.0,
                        [](double sum, float value) { return sum + wide(value) * wide(value); });
    BOOST_TEST(std::abs(k::table(index).sum_of_squares(count, values.data()) - expected) <=
               1e-14 * expected);
  }
}

/// The update in double; Loshchilov and Hutter 2019.
BOOST_DATA_TEST_CASE(adamw_updates_and_digests, tables, index) {
  const std::size_t count = 333;
  auto weights = random_values(count, 41);
  auto average = random_values(count, 42);
  auto square = random_values(count, 43);
  for (float& value : square)
    value *= value;
  const auto gradients = random_values(count, 44);
  const auto before = weights;
  const auto average_before = average;
  const auto square_before = square;
  k::adamw_task task{.count = count,
                     .weights = weights.data(),
                     .exp_avg = average.data(),
                     .exp_avg_sq = square.data(),
                     .gradients = gradients.data(),
                     .gradient_scale = 0.5F,
                     .learning_rate = 1e-2F,
                     .beta1 = 0.9F,
                     .beta2 = 0.99F,
                     .eps = 1e-8F,
                     .weight_decay = 0.1F,
                     .step_size = 2e-2F,
                     .inverse_sqrt_correction2 = 3,
                     .parameter = 5,
                     .first_element = 77};
  const auto sum = k::table(index).adamw(task);
  for (std::size_t i = 0; i < count; ++i) {
    const double gradient = 0.5 * wide(gradients[i]);
    const double first = 0.9 * wide(average_before[i]) + 0.1 * gradient;
    const double second = 0.99 * wide(square_before[i]) + 0.01 * gradient * gradient;
    const double step = 2e-2 * first / (std::sqrt(second) * 3 + 1e-8);
    BOOST_REQUIRE(std::abs(wide(average[i]) - first) < 1e-6);
    BOOST_REQUIRE(std::abs(wide(square[i]) - second) < 1e-6);
    BOOST_REQUIRE(std::abs(wide(weights[i]) - (wide(before[i]) * (1 - 1e-3) - step)) < 1e-6);
  }
  state_digest expected;
  add_elements(expected, 5, 77, std::span<const float>(weights));
  BOOST_TEST(sum.low == expected.low);
  BOOST_TEST(sum.high == expected.high);
}

BOOST_DATA_TEST_CASE(rotation_turns_pairs_and_back, tables, index) {
  const k::cpu_kernels& cpu = k::table(index);
  for (const std::size_t half : {1U, 8U, 19U, 32U}) {
    const auto x = random_values(2 * half, 21);
    std::vector<float> cosine(half);
    std::vector<float> sine(half);
    for (std::size_t i = 0; i < half; ++i) {
      cosine[i] = std::cos(0.3F * static_cast<float>(i + 1));
      sine[i] = std::sin(0.3F * static_cast<float>(i + 1));
    }
    std::vector<float> y(2 * half);
    cpu.rotate(2 * half, x.data(), cosine.data(), sine.data(), y.data());
    for (std::size_t i = 0; i < half; ++i) {
      BOOST_TEST(std::abs(y[i] - (x[i] * cosine[i] - x[i + half] * sine[i])) < 1e-6F);
      BOOST_TEST(std::abs(y[i + half] - (x[i + half] * cosine[i] + x[i] * sine[i])) < 1e-6F);
    }
    // A rotation's gradient turns back.
    cpu.rotate_backward(2 * half, cosine.data(), sine.data(), y.data());
    for (std::size_t i = 0; i < 2 * half; ++i)
      BOOST_TEST(std::abs(y[i] - x[i]) < 1e-6F);
  }
}

}  // namespace
