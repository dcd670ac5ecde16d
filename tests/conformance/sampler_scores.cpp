// Logprobs of prompts and likeliest tokens: the same numbers that decoding gives.

#include <cmath>
#include <map>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/torch/sampler.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;

struct answer {
  std::vector<scored_token> tokens;
  gpu::prompt_scores prompt;
  [[nodiscard]] std::vector<float> logprobs() const {
    std::vector<float> out;
    for (const scored_token& token : tokens)
      out.push_back(token.logprob);
    return out;
  }
};

struct fixture {
  model_config model = test::small_sampler_model(4000);
  test::model_memory memory{model};
  std::unique_ptr<gpu::sampler_engine> sampler;

  fixture() {
    test::fill_randomly(memory, model, 21);
    sampler = std::move(*gpu::make_torch_sampler(model));
    BOOST_REQUIRE(sampler->load(memory).has_value());
  }

  std::map<std::uint64_t, answer> run(const std::vector<gpu::sequence_start>& starts) {
    for (const auto& start : starts)
      BOOST_REQUIRE(sampler->admit(start).has_value());
    std::map<std::uint64_t, answer> out;
    while (sampler->num_active() > 0) {
      auto step = sampler->step();
      BOOST_REQUIRE(step.has_value());
      for (auto& token : *step) {
        answer& one = out[token.sequence];
        BOOST_REQUIRE((token.prompt != nullptr) == one.tokens.empty());
        if (token.prompt) one.prompt = *token.prompt;
        one.tokens.push_back(std::move(token.chosen));
      }
    }
    return out;
  }
};

gpu::sequence_start request(std::size_t prompt_tokens, std::uint32_t max_tokens) {
  gpu::sequence_start start;
  for (std::size_t i = 0; i < prompt_tokens; ++i)
    start.prompt.push_back(static_cast<token_id>((i * 7 + i / 5) % 71));
  start.params.max_tokens = max_tokens;
  return start;
}

BOOST_FIXTURE_TEST_CASE(a_prompt_scores_as_it_was_decoded, fixture) {
  const auto first = request(30, 40);
  const answer decoded = run({first}).at(0);
  auto again = first;
  for (const scored_token& token : decoded.tokens)
    again.prompt.push_back(token.token);
  again.params.max_tokens = 1;
  again.wants_prompt_logprobs = true;
  again.topk_prompt_logprobs = 5;
  const answer scored = run({again}).at(0);
  BOOST_TEST(scored.prompt.cached_tokens == 0U);
  BOOST_REQUIRE(scored.prompt.logprobs.size() == 69U);
  BOOST_TEST(std::vector(scored.prompt.logprobs.begin() + 29, scored.prompt.logprobs.end()) ==
                 decoded.logprobs(),
             boost::test_tools::per_element());
  const auto& topk = scored.prompt.topk;
  BOOST_TEST(topk.per_position == 5U);
  BOOST_REQUIRE(topk.tokens.size() == 69U * 5);
  for (std::size_t position = 0; position < 69; ++position)
    for (std::size_t i = 0; i < 5; ++i) {
      const std::size_t cell = position * 5 + i;
      if (i > 0) BOOST_TEST(topk.logprobs[cell - 1] >= topk.logprobs[cell]);
      if (topk.tokens[cell] == again.prompt[position + 1])
        BOOST_TEST(topk.logprobs[cell] == scored.prompt.logprobs[position]);
    }
}

BOOST_FIXTURE_TEST_CASE(scores_do_not_depend_on_pieces_or_neighbours, fixture) {
  auto scoring = request(limits::sampler_prefill_rows_max + 100, 2);
  scoring.wants_prompt_logprobs = true;
  const answer alone = run({scoring}).at(0);
  BOOST_TEST(alone.prompt.logprobs.size() == scoring.prompt.size() - 1);
  // Known to the prefix cache by now, decoded beside others of the same prompt.
  std::vector<gpu::sequence_start> many;
  for (std::uint64_t i = 0; i < 4; ++i) {
    many.push_back(request(limits::sampler_prefill_rows_max + 100, 2));
    many.back().sequence = i;
  }
  many[2].wants_prompt_logprobs = true;
  const auto together = run(many);
  BOOST_TEST(together.at(2).prompt.logprobs == alone.prompt.logprobs,
             boost::test_tools::per_element());
  BOOST_TEST(together.at(1).prompt.logprobs.empty());
  BOOST_TEST(together.at(1).prompt.cached_tokens == scoring.prompt.size());
  BOOST_TEST(together.at(1).logprobs() == together.at(2).logprobs(),
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(one_token_prompts_have_no_scores, fixture) {
  auto start = request(1, 1);
  start.wants_prompt_logprobs = true;
  start.topk_prompt_logprobs = 3;
  const answer out = run({start}).at(0);
  BOOST_TEST(out.prompt.logprobs.empty());
  BOOST_TEST(out.prompt.topk.tokens.empty());
}

BOOST_FIXTURE_TEST_CASE(other_tokens_than_the_prompts_own_are_scored, fixture) {
  auto start = request(30, 2);
  start.wants_prompt_logprobs = true;
  for (std::size_t i = 1; i < start.prompt.size(); ++i) {
    start.prompt_targets.push_back(70);
    start.prompt_targets.push_back(start.prompt[i]);
  }
  start.topk_prompt_logprobs = 71;
  const answer out = run({start}).at(0);
  BOOST_REQUIRE(out.prompt.target_logprobs.size() == 2U * 29);
  for (std::size_t position = 0; position < 29; ++position) {
    BOOST_TEST(out.prompt.target_logprobs[2 * position + 1] == out.prompt.logprobs[position]);
    const auto row = out.prompt.topk.tokens.begin() + static_cast<std::ptrdiff_t>(71 * position);
    const auto place = static_cast<std::size_t>(std::find(row, row + 71, 70) - row);
    BOOST_TEST(out.prompt.target_logprobs[2 * position] ==
               out.prompt.topk.logprobs[71 * position + place]);
  }
  start.prompt_targets.back() = 71;
  BOOST_TEST((sampler->admit(start).error().code == errc::invalid_argument));
  start.prompt_targets.pop_back();
  BOOST_TEST((sampler->admit(start).error().code == errc::invalid_argument));
}

BOOST_FIXTURE_TEST_CASE(the_whole_vocabulary_sums_to_one, fixture) {
  auto start = request(9, 1);
  start.topk_prompt_logprobs = 71;
  start.params.topk_logprobs = 71;
  const answer out = run({start}).at(0);
  const auto& likely = out.prompt.topk.logprobs;
  BOOST_REQUIRE(likely.size() == 8U * 71);
  for (std::size_t position = 0; position < 8; ++position) {
    double total = 0;
    for (std::size_t i = 0; i < 71; ++i)
      total += std::exp(static_cast<double>(likely[position * 71 + i]));
    BOOST_TEST(std::abs(total - 1) < 1e-5);
  }
  BOOST_TEST(out.tokens[0].topk.tokens.size() == 71U);
}

}  // namespace
