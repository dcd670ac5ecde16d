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
  for (const loss_fn loss : {loss_fn::cross_entropy, loss_fn::importance_sampling, loss_fn::ppo}) {
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
  BOOST_TEST(
      (gpu::read_loss_options(loss_fn::cross_entropy, {{"clip_low_threshold", 0.8}}).error().code ==
       errc::invalid_argument));
}

}  // namespace
