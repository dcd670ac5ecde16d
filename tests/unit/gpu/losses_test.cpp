#include "gpu/losses.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

using namespace troupe;

datum some_datum() {
  datum data;
  data.tokens = {1, 2, 3, 4};
  data.target_tokens = {2, 3, 4, 5};
  data.weights = {1.0F, 0.0F, -2.0F, 0.5F};
  data.logprobs = {-1.0F, -0.5F, -2.0F, -0.1F};
  data.advantages = {1.0F, -1.0F, 2.0F, 0.0F};
  return data;
}

gpu::loss_options options_of(loss_fn loss, const loss_fn_config& config = {}) {
  const auto options = gpu::read_loss_options(loss, config);
  BOOST_REQUIRE(options.has_value());
  return *options;
}

BOOST_AUTO_TEST_CASE(values_are_those_of_the_formulas) {
  const std::vector<float> p{-1.1F, -0.9F, -1.0F, -3.0F};
  const datum data = some_datum();
  const auto near = boost::test_tools::tolerance(1e-6);

  const auto ce = gpu::evaluate_loss(options_of(loss_fn::cross_entropy), data, p);
  BOOST_TEST(ce.loss == -(1.0 * -1.1 - 2.0 * -1.0 + 0.5 * -3.0), near);

  const auto is = gpu::evaluate_loss(options_of(loss_fn::importance_sampling), data, p);
  BOOST_TEST(is.loss == -(std::exp(-0.1) - std::exp(-0.4) + 2 * std::exp(1.0)), near);

  // Ratios 0.905, 0.670, 2.718: inside; below with A < 0; above with A > 0.
  const auto ppo = gpu::evaluate_loss(options_of(loss_fn::ppo), data, p);
  BOOST_TEST(ppo.loss == -(std::exp(-0.1) + 0.8 * -1.0 + 1.2 * 2.0), near);
  BOOST_TEST(static_cast<double>(ppo.logprob_gradient[0]) == -std::exp(-0.1), near);
  BOOST_TEST(ppo.logprob_gradient[1] == 0.0F);
  BOOST_TEST(ppo.logprob_gradient[2] == 0.0F);

  const auto wide =
      options_of(loss_fn::ppo, {{"clip_low_threshold", 0.5}, {"clip_high_threshold", 3.0}});
  BOOST_TEST(gpu::evaluate_loss(wide, data, p).loss == is.loss, near);
}

BOOST_AUTO_TEST_CASE(gradients_are_slopes) {
  const datum data = some_datum();
  const std::vector<float> p{-1.05F, -0.75F, -1.5F, -0.2F};
  for (const loss_fn loss : {loss_fn::cross_entropy, loss_fn::importance_sampling, loss_fn::ppo,
                             loss_fn::dro, loss_fn::dapo}) {
    const auto options = options_of(loss);
    const auto value = gpu::evaluate_loss(options, data, p);
    for (std::size_t i = 0; i < p.size(); ++i) {
      auto up = p;
      auto down = p;
      up[i] += 0x1p-10F;
      down[i] -= 0x1p-10F;
      const double slope = (gpu::evaluate_loss(options, data, up).loss -
                            gpu::evaluate_loss(options, data, down).loss) /
                           0x1p-9;
      BOOST_TEST(std::abs(slope - static_cast<double>(value.logprob_gradient[i])) < 1e-4);
    }
  }
}

BOOST_AUTO_TEST_CASE(cispo_bounds_a_factor_and_keeps_its_gradient) {
  const datum data = some_datum();
  const std::vector<float> p{-1.1F, -0.9F, -1.0F, -3.0F};
  const auto near = boost::test_tools::tolerance(1e-6);
  const auto value = gpu::evaluate_loss(options_of(loss_fn::cispo), data, p);
  BOOST_TEST(value.loss == -(std::exp(-0.1) * -1.1 + 0.8 * 0.9 + 1.2 * 2.0 * -1.0), near);
  BOOST_TEST(static_cast<double>(value.logprob_gradient[1]) == 0.8, near);
  BOOST_TEST(static_cast<double>(value.logprob_gradient[2]) == -2.4, near);
}

BOOST_AUTO_TEST_CASE(dro_pulls_towards_the_sampling_policy) {
  const datum data = some_datum();
  const std::vector<float> p{-1.1F, -0.9F, -1.0F, -3.0F};
  const auto near = boost::test_tools::tolerance(1e-5);
  const auto value = gpu::evaluate_loss(options_of(loss_fn::dro, {{"beta", 0.1}}), data, p);
  const double penalty = 0.05 * (0.01 + 0.16 + 1.0 + 8.41);
  BOOST_TEST(value.loss == -((-1.1 + 0.9 - 2.0) - penalty), near);
  // An advantage of 0 does not lift the penalty.
  BOOST_TEST(static_cast<double>(value.logprob_gradient[3]) == 0.1 * -2.9, near);
}

BOOST_AUTO_TEST_CASE(dapo_clips_higher_and_bounds_bad_surprises) {
  datum data = some_datum();
  data.advantages = {1.0F, -1.0F, 2.0F, -1.0F};
  const std::vector<float> p{-1.1F, -0.9F, -1.0F, 1.9F};
  const auto near = boost::test_tools::tolerance(1e-5);
  const double first = -(std::exp(-0.1) + 0.8 * -1.0 + 1.28 * 2.0);
  const auto plain = gpu::evaluate_loss(options_of(loss_fn::dapo), data, p);
  BOOST_TEST(plain.loss == first + std::exp(2.0), near);
  BOOST_TEST(static_cast<double>(plain.logprob_gradient[3]) == std::exp(2.0), near);
  const auto dual =
      gpu::evaluate_loss(options_of(loss_fn::dapo, {{"dual_clip_threshold", 3}}), data, p);
  BOOST_TEST(dual.loss == first + 3, near);
  BOOST_TEST(dual.logprob_gradient[3] == 0.0F);
  // What would overflow is bounded instead.
  data.logprobs[3] = -900;
  const auto far = gpu::evaluate_loss(options_of(loss_fn::dapo), data, p);
  BOOST_TEST(far.loss == first + std::exp(20.0), near);
  BOOST_TEST(far.logprob_gradient[3] == 0.0F);
}

BOOST_AUTO_TEST_CASE(gspo_has_one_ratio_for_a_sequence) {
  datum data = some_datum();
  data.advantages = {0.0F, 2.0F, 2.0F, 2.0F};
  const std::vector<float> p{-5.0F, -0.6F, -1.9F, -0.3F};
  const auto near = boost::test_tools::tolerance(1e-5);
  const double ratio = std::exp((-0.1 + 0.1 - 0.2) / 3);
  const auto value = gpu::evaluate_loss(options_of(loss_fn::gspo), data, p);
  BOOST_TEST(value.loss == -3 * 2 * ratio, near);
  BOOST_TEST(value.logprob_gradient[0] == 0.0F);
  for (std::size_t i = 1; i < 4; ++i) {
    BOOST_TEST(static_cast<double>(value.logprob_gradient[i]) == -2 * ratio, near);
    auto up = p;
    auto down = p;
    up[i] += 0x1p-10F;
    down[i] -= 0x1p-10F;
    const auto options = options_of(loss_fn::gspo);
    const double slope = (gpu::evaluate_loss(options, data, up).loss -
                          gpu::evaluate_loss(options, data, down).loss) /
                         0x1p-9;
    BOOST_TEST(std::abs(slope - static_cast<double>(value.logprob_gradient[i])) < 1e-3);
  }
  data.sequence_ratio_mask = {1.0F, 0.0F, 0.0F, 1.0F};
  const double masked = std::exp((-4.0 - 0.2) / 2);
  BOOST_TEST(
      gpu::evaluate_loss(options_of(loss_fn::gspo, {{"clip_low_threshold", 0}}), data, p).loss ==
          -2 * masked,
      near);
  data.sequence_ratio_mask.pop_back();
  BOOST_TEST((gpu::check_loss_inputs(options_of(loss_fn::gspo), data).error().code ==
              errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(thresholds_of_single_positions_go_before_those_of_the_loss) {
  datum data = some_datum();
  const std::size_t length = data.target_tokens.size();
  const std::vector<float> p(length, 0.0F);
  data.logprobs.assign(length, -1.0F);
  data.advantages.assign(length, 1.0F);
  data.clip_high_thresholds.assign(length, 1.5F);
  data.clip_high_thresholds[0] = 2.0F;
  const auto options = options_of(loss_fn::ppo, {{"clip_high_threshold", 1.1}});
  BOOST_TEST(gpu::check_loss_inputs(options, data).has_value());
  const double rest = static_cast<double>(length - 1);
  BOOST_TEST(gpu::evaluate_loss(options, data, p).loss == -(2.0 + 1.5 * rest),
             boost::test_tools::tolerance(1e-12));
  const auto code_of = [](const gpu::loss_options& wanted, const datum& row) {
    const auto ok = gpu::check_loss_inputs(wanted, row);
    return ok ? errc::none : ok.error().code;
  };
  BOOST_TEST((code_of(options_of(loss_fn::dro), data) == errc::invalid_argument));
  data.weights.assign(length, 1.0F);
  BOOST_TEST((code_of(options_of(loss_fn::cross_entropy), data) == errc::invalid_argument));
  data.clip_high_thresholds[0] = 0.5F;
  BOOST_TEST((code_of(options, data) == errc::invalid_argument));
  data.clip_high_thresholds.pop_back();
  BOOST_TEST((code_of(options, data) == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(missing_inputs_and_unknown_options_are_refused) {
  const auto code_of = [](loss_fn loss, const datum& data) {
    const auto ok = gpu::check_loss_inputs(options_of(loss), data);
    return ok ? errc::none : ok.error().code;
  };
  datum data = some_datum();
  for (const loss_fn loss : {loss_fn::cross_entropy, loss_fn::importance_sampling, loss_fn::ppo})
    BOOST_TEST((code_of(loss, data) == errc::none));
  data.weights.clear();
  BOOST_TEST((code_of(loss_fn::cross_entropy, data) == errc::invalid_argument));
  BOOST_TEST((code_of(loss_fn::ppo, data) == errc::none));
  data.advantages.push_back(1);
  BOOST_TEST((code_of(loss_fn::ppo, data) == errc::invalid_argument));
  data = some_datum();
  data.logprobs.pop_back();
  BOOST_TEST((code_of(loss_fn::importance_sampling, data) == errc::invalid_argument));

  for (const loss_fn_config& config : std::vector<loss_fn_config>{
           {{"clip_low", 0.8}},
           {{"clip_low_threshold", 1.3}},
           {{"clip_low_threshold", -0.1}},
           {{"clip_high_threshold", std::numeric_limits<double>::quiet_NaN()}}})
    BOOST_TEST(
        (gpu::read_loss_options(loss_fn::ppo, config).error().code == errc::invalid_argument));
  for (const double bad : {0.5, 1.0, std::numeric_limits<double>::infinity()})
    BOOST_TEST(
        (gpu::read_loss_options(loss_fn::dapo, {{"dual_clip_threshold", bad}}).error().code ==
         errc::invalid_argument));
  BOOST_TEST((gpu::read_loss_options(loss_fn::dro, {{"beta", -1}}).error().code ==
              errc::invalid_argument));
  BOOST_TEST(
      (gpu::read_loss_options(loss_fn::ppo, {{"beta", 1}}).error().code == errc::invalid_argument));
  BOOST_TEST(
      (gpu::read_loss_options(loss_fn::cross_entropy, {{"clip_low_threshold", 0.8}}).error().code ==
       errc::invalid_argument));
}

}  // namespace
