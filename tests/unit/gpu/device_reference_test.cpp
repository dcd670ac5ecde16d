// The references that kernels for a GPU are checked against compute what the CPU engine computes.

#include <cmath>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/kernels/adamw.hpp"
#include "gpu/kernels/add_rms_norm.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/kernels/rank_sums.hpp"
#include "gpu/kernels/token_logprobs.hpp"
#include "gpu/kernels/weights_digest.hpp"

namespace {

using namespace troupe::gpu;

std::vector<float> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values)
    value = normal(random);
  return values;
}

void check_near(const std::vector<float>& actual, const std::vector<float>& expected) {
  BOOST_REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    BOOST_TEST_REQUIRE(std::abs(actual[i] - expected[i]) <= 1e-5F * (1 + std::abs(expected[i])));
}

BOOST_AUTO_TEST_CASE(logprobs_and_their_gradient) {
  constexpr std::size_t rows = 5;
  constexpr std::size_t vocabulary = 203;
  auto logits = random_values(rows * vocabulary, 1);
  const auto gradient = random_values(rows, 2);
  const std::vector<std::int32_t> targets{0, 202, 17, 100, 17};
  std::vector<float> lse(rows);
  std::vector<float> logprobs(rows);
  kernels::token_logprobs_reference(
      {rows, vocabulary, logits.data(), targets.data(), lse.data(), logprobs.data()});
  auto expected = logits;
  std::vector<float> expected_lse;
  std::vector<float> expected_logprobs;
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  for (std::size_t row = 0; row < rows; ++row) {
    float* const z = &expected[row * vocabulary];
    const auto target = static_cast<std::size_t>(targets[row]);
    expected_lse.push_back(cpu.log_sum_exp(vocabulary, z));
    expected_logprobs.push_back(z[target] - expected_lse.back());
    cpu.logprob_backward(vocabulary, expected_lse.back(), target, gradient[row], z, z);
  }
  check_near(lse, expected_lse);
  check_near(logprobs, expected_logprobs);
  kernels::token_logprobs_backward_reference(
      {rows, vocabulary, logits.data(), lse.data(), targets.data(), gradient.data()});
  check_near(logits, expected);
}

BOOST_AUTO_TEST_CASE(norms_behind_an_addition) {
  constexpr std::size_t rows = 70;
  constexpr std::size_t width = 51;
  const auto x = random_values(rows * width, 1);
  auto residual = random_values(rows * width, 2);
  const auto weight = random_values(width, 3);
  const auto up = random_values(rows * width, 4);
  auto along = random_values(rows * width, 5);
  auto sum = residual;
  for (std::size_t i = 0; i < sum.size(); ++i)
    sum[i] += x[i];
  std::vector<float> y(rows * width), rstd(rows), weight_gradient(width, 1.0F);
  auto expected_y = y;
  auto expected_rstd = rstd;
  auto expected_along = along;
  auto expected_weight_gradient = weight_gradient;
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  cpu.rms_norm(rows, width, sum.data(), weight.data(), 1e-5F, expected_y.data(),
               expected_rstd.data());
  cpu.rms_norm_backward(rows, width, sum.data(), weight.data(), expected_rstd.data(), up.data(),
                        expected_along.data(), expected_weight_gradient.data());
  kernels::add_rms_norm_reference(
      {rows, width, x.data(), residual.data(), weight.data(), 1e-5F, y.data(), rstd.data()});
  kernels::add_rms_norm_backward_reference({rows, width, residual.data(), weight.data(),
                                            rstd.data(), up.data(), along.data(),
                                            weight_gradient.data(), nullptr});
  check_near(residual, sum);
  check_near(y, expected_y);
  check_near(rstd, expected_rstd);
  check_near(along, expected_along);
  check_near(weight_gradient, expected_weight_gradient);
}

BOOST_AUTO_TEST_CASE(steps_of_adamw) {
  constexpr std::size_t count = 333;
  auto weights = random_values(count, 1);
  auto average = random_values(count, 2);
  auto square = random_values(count, 3);
  for (float& value : square)
    value *= value;
  const auto gradients = random_values(count, 4);
  auto expected_weights = weights;
  auto expected_average = average;
  auto expected_square = square;
  kernels::adamw_task task{.count = count,
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
                           .inverse_sqrt_correction2 = 3};
  kernels::adamw_reference(task);
  task.weights = expected_weights.data();
  task.exp_avg = expected_average.data();
  task.exp_avg_sq = expected_square.data();
  kernels::for_this_cpu().adamw(task);
  check_near(weights, expected_weights);
  check_near(average, expected_average);
  check_near(square, expected_square);
}

BOOST_AUTO_TEST_CASE(digests_of_weights) {
  const auto weights = random_values(1003, 8);
  const auto expected = kernels::for_this_cpu().digest(9, 12'345, weights.size(), weights.data());
  // Added to what is there.
  std::vector<std::uint64_t> sums{1, 2};
  kernels::weights_digest_reference({9, 12'345, weights.size(), weights.data(), sums.data()});
  BOOST_TEST(sums[0] == expected.low + 1);
  BOOST_TEST(sums[1] == expected.high + 2);
}

BOOST_AUTO_TEST_CASE(sums_over_ranks_are_taken_in_their_order) {
  // Another order loses the small number.
  const std::vector<float> parts{1e8F, 3.0F, -1e8F, 4.0F, 1.0F, 5.0F};
  std::vector<float> sum(2);
  kernels::sum_ranks_reference({3, 2, parts.data(), sum.data()});
  BOOST_TEST(sum[0] == 1.0F);
  BOOST_TEST(sum[1] == 12.0F);
}

}  // namespace
