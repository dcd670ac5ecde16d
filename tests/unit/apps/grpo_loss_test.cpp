#include "apps/loops/grpo_loss.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::loops;

BOOST_AUTO_TEST_CASE(advantages_are_centred_in_each_group) {
  const std::vector<float> rewards{1, 0, 0, 1, 5, 5, 5, 5};
  const auto advantages = group_advantages(rewards, 4);
  BOOST_REQUIRE(advantages.has_value());
  BOOST_TEST((*advantages)[0] == 1.0F, boost::test_tools::tolerance(1e-3F));
  BOOST_TEST((*advantages)[1] == -1.0F, boost::test_tools::tolerance(1e-3F));
  BOOST_TEST((*advantages)[5] == 0.0F);
  BOOST_TEST(!group_advantages(rewards, 3).has_value());
}

BOOST_AUTO_TEST_CASE(the_gradient_is_the_slope_of_the_loss) {
  const std::vector<answer_terms> answers{{{-1.0F, -2.0F, -0.5F}, {0, 1, 1}, 1.5F},
                                          {{-0.7F, -1.1F}, {1, 1}, -0.8F}};
  const std::vector<std::vector<float>> logprobs{{-3.0F, -1.95F, -0.1F}, {-0.6F, -1.9F}};
  const auto value = grpo_loss(logprobs, answers, {});
  BOOST_REQUIRE(value.has_value());
  constexpr float h = 1e-2F;
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    for (std::size_t t = 0; t < logprobs[i].size(); ++t) {
      auto up = logprobs;
      auto down = logprobs;
      up[i][t] += h;
      down[i][t] -= h;
      const double slope = (grpo_loss(up, answers, {})->loss - grpo_loss(down, answers, {})->loss) /
                           (double{up[i][t]} - double{down[i][t]});
      BOOST_TEST(std::abs(slope - double{value->gradients[i][t]}) < 1e-4);
    }
  }
  BOOST_TEST(value->gradients[0][0] == 0.0F);
  BOOST_TEST(value->clipped_share == 0.5, boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(lengths_must_agree) {
  const std::vector<answer_terms> answers{{{-1.0F}, {1}, 1.0F}};
  const std::vector<std::vector<float>> logprobs{{-1.0F, -1.0F}};
  BOOST_TEST(!grpo_loss(logprobs, answers, {}).has_value());
  BOOST_TEST(!grpo_loss({}, answers, {}).has_value());
}
