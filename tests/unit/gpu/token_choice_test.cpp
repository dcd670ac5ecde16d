#include "gpu/token_choice.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/bf16.hpp"

namespace {

using namespace troupe;

const std::vector<float> logits{0.0F, 2.0F, 1.0F, 2.0F, -1.0F, -30.0F};

/// Probabilities of `logits` at a temperature, in double.
std::vector<double> distribution(double temperature) {
  std::vector<double> p;
  double total = 0;
  for (const float logit : logits) {
    p.push_back(std::exp(static_cast<double>(logit) / temperature));
    total += p.back();
  }
  for (double& x : p)
    x /= total;
  return p;
}

scored_token choose(const sampling_params& params, std::uint64_t position) {
  std::vector<float> copy = logits;
  return *gpu::choose_token(copy, params, {params.seed, 0, position});
}

/// Share of each token in many draws.
std::map<token_id, double> shares(const sampling_params& params) {
  constexpr std::uint64_t draws = 20'000;
  std::map<token_id, double> counted;
  for (std::uint64_t i = 0; i < draws; ++i)
    counted[choose(params, i).token] += 1.0 / draws;
  return counted;
}

BOOST_AUTO_TEST_CASE(greedy_takes_the_first_best) {
  sampling_params params;
  params.temperature = 0;
  const auto chosen = choose(params, 0);
  BOOST_TEST(chosen.token == 1);
  BOOST_TEST(std::abs(static_cast<double>(chosen.logprob) - std::log(distribution(1.0)[1])) < 1e-6);
}

BOOST_AUTO_TEST_CASE(draws_follow_the_scaled_distribution) {
  for (const double temperature : {0.5, 1.0, 2.0}) {
    sampling_params params;
    params.temperature = temperature;
    const auto expected = distribution(temperature);
    for (const auto& [token, share] : shares(params))
      BOOST_TEST(std::abs(share - expected[static_cast<std::size_t>(token)]) < 0.012);
    const auto chosen = choose(params, 3);
    BOOST_TEST(std::abs(static_cast<double>(chosen.logprob) -
                        std::log(expected[static_cast<std::size_t>(chosen.token)])) < 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(truncation_keeps_the_likeliest_and_the_raw_logprobs) {
  const auto p = distribution(1.0);
  sampling_params params;
  params.top_k = 2;
  auto counted = shares(params);
  BOOST_TEST(counted.size() == 2U);
  BOOST_TEST(std::abs(counted[1] - 0.5) < 0.012);
  BOOST_TEST(std::abs(counted[3] - 0.5) < 0.012);
  const auto chosen = choose(params, 0);
  BOOST_TEST(std::abs(static_cast<double>(chosen.logprob) - std::log(p[1])) < 1e-5);

  params.top_k = 1;
  BOOST_TEST(shares(params).count(1) == 1U);
  BOOST_TEST(shares(params).size() == 1U);

  // Tokens 1 and 3 hold 0.77; token 2 is needed to pass 0.8.
  params.top_k = -1;
  params.top_p = 0.8;
  counted = shares(params);
  BOOST_TEST(counted.size() == 3U);
  BOOST_TEST(counted.count(2) == 1U);
  BOOST_TEST(std::abs(counted[2] - p[2] / (p[1] + p[2] + p[3])) < 0.012);
  params.top_p = 1e-9;
  BOOST_TEST(shares(params).size() == 1U);
}

BOOST_AUTO_TEST_CASE(min_p_drops_what_the_likeliest_dwarfs) {
  // Tokens 1 and 3 are the likeliest, token 2 has 1/e of their probability.
  sampling_params params;
  params.min_p = 0.4;
  BOOST_TEST(shares(params).size() == 2U);
  params.min_p = 0.3;
  BOOST_TEST(shares(params).size() == 3U);
  params.top_p = 0.5;
  BOOST_TEST(shares(params).size() == 2U);
  params.min_p = 1.5;
  BOOST_TEST(!gpu::check_sampling(params).has_value());
}

BOOST_AUTO_TEST_CASE(other_logprobs_name_the_model_and_the_drawing) {
  sampling_params params;
  params.temperature = 2.0;
  params.top_k = 3;
  params.with_other_logprobs = true;
  const auto raw = distribution(1.0);
  const auto scaled = distribution(2.0);
  const double kept = scaled[1] + scaled[3] + scaled[2];
  for (std::uint64_t position = 0; position < 50; ++position) {
    const auto chosen = choose(params, position);
    const auto token = static_cast<std::size_t>(chosen.token);
    const auto is = [](float value, double expected) {
      return std::abs(static_cast<double>(value) - std::log(expected)) < 1e-5;
    };
    BOOST_TEST(is(chosen.logprob, scaled[token]));
    BOOST_TEST(is(chosen.raw_logprob, raw[token]));
    BOOST_TEST(is(chosen.sampling_logprob, scaled[token] / kept));
  }
}

BOOST_AUTO_TEST_CASE(likeliest_tokens_come_best_first) {
  sampling_params params;
  params.temperature = 2.0;
  params.topk_logprobs = 4;
  const auto scaled = distribution(2.0);
  const auto topk = choose(params, 0).topk;
  BOOST_TEST(topk.per_position == 4U);
  BOOST_TEST((topk.tokens == std::vector<token_id>{1, 3, 2, 0}));
  for (std::size_t i = 0; i < 4; ++i)
    BOOST_TEST(std::abs(static_cast<double>(topk.logprobs[i]) -
                        std::log(scaled[static_cast<std::size_t>(topk.tokens[i])])) < 1e-5);
  params.topk_logprobs = 100;
  BOOST_TEST(choose(params, 0).topk.tokens.size() == logits.size());
}

BOOST_AUTO_TEST_CASE(long_vocabularies_are_cut_like_short_ones) {
  // Token i has probability proportional to 1 / (1 + i * 7919 % 5000): the i-th likeliest is known.
  constexpr std::size_t size = 5000;
  std::vector<float> spread(size);
  std::vector<double> by_rank(size);
  double total = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t rank = i * 7919 % size;
    spread[i] = -std::log(1.0F + static_cast<float>(rank));
    by_rank[rank] = 1.0 / (1.0 + static_cast<double>(rank));
    total += by_rank[rank];
  }
  for (const double top_p : {0.1, 0.5, 0.7, 0.95}) {
    std::size_t kept = 0;
    for (double sum = 0; sum < top_p * total; ++kept)
      sum += by_rank[kept];
    sampling_params params;
    params.top_p = top_p;
    std::size_t furthest = 0;
    for (std::uint64_t position = 0; position < 300; ++position) {
      std::vector<float> copy = spread;
      const auto chosen = gpu::choose_token(copy, params, {params.seed, 0, position});
      furthest = std::max(furthest, static_cast<std::size_t>(chosen->token) * 7919 % size);
    }
    BOOST_TEST(furthest < kept + 1);
    BOOST_TEST(furthest >= kept / 4);
  }
}

BOOST_AUTO_TEST_CASE(damaged_logits_give_no_token) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<sampling_params> all(4);
  all[1].temperature = 0;
  all[2].top_k = 3;
  all[3].top_p = 0.5;
  for (const sampling_params& params : all) {
    for (const float damaged : {std::numeric_limits<float>::quiet_NaN(), infinity}) {
      std::vector<float> copy(300, 0.5F);
      copy[7] = damaged;
      const auto chosen = gpu::choose_token(copy, params, {1, 0, 2});
      BOOST_REQUIRE(!chosen.has_value());
      BOOST_TEST((chosen.error().code == errc::not_finite));
    }
    std::vector<float> never(300, -infinity);
    never[9] = 1.0F;
    BOOST_TEST(gpu::choose_token(never, params, {1, 0, 2})->token == 9);
  }
  sampling_params cold;
  cold.temperature = 1e-40;
  std::vector<float> copy = logits;
  BOOST_TEST((gpu::choose_token(copy, cold, {1, 0, 2}).error().code == errc::not_finite));
}

BOOST_AUTO_TEST_CASE(random_numbers_depend_on_every_part_of_the_key) {
  std::vector<double> seen;
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (std::uint32_t index = 0; index < 10; ++index)
      for (std::uint64_t position = 0; position < 10; ++position)
        seen.push_back(gpu::uniform({seed, index, position}));
  std::ranges::sort(seen);
  BOOST_TEST((std::ranges::adjacent_find(seen) == seen.end()));
  BOOST_TEST(seen.front() >= 0.0);
  BOOST_TEST(seen.back() < 1.0);
  for (std::size_t i = 0; i < seen.size(); ++i)
    BOOST_TEST(std::abs(seen[i] - static_cast<double>(i) / 1000) < 0.05);
  BOOST_TEST(gpu::uniform({7, 8, 9}) == gpu::uniform({7, 8, 9}));
}

BOOST_AUTO_TEST_CASE(bf16_rounds_to_nearest_even) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = gpu::from_bf16(half);
    if (std::isnan(value)) {
      BOOST_REQUIRE(std::isnan(gpu::from_bf16(gpu::to_bf16(value))));
      continue;
    }
    BOOST_REQUIRE(gpu::to_bf16(value) == half);
  }
  BOOST_TEST(gpu::to_bf16(1.0F + 0x1p-8F) == 0x3f80);
  BOOST_TEST(gpu::to_bf16(1.0F + 0x1.8p-7F) == 0x3f82);
  BOOST_TEST(gpu::to_bf16(1.0F + 0x1.01p-8F) == 0x3f81);
  BOOST_TEST(gpu::to_bf16(0x1.fffffep127F) == 0x7f80);
}

}  // namespace
