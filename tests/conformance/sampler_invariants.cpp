// What a sampler promises: sequences do not see each other, weights change between steps, bounds.

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/bf16.hpp"
#include "gpu/torch/sampler.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;

struct output {
  std::vector<token_id> tokens;
  std::vector<float> logprobs;
  std::optional<stop_reason> reason;
  bool operator==(const output&) const = default;
};
using outputs = std::map<std::uint64_t, output>;

struct fixture {
  model_config model = test::small_sampler_model(400);
  test::model_memory memory{model};
  std::unique_ptr<gpu::sampler_engine> sampler;

  fixture() {
    test::fill_randomly(memory, model, 21);
    sampler = std::move(*gpu::make_torch_sampler(model));
    BOOST_REQUIRE(sampler->load(memory).has_value());
  }

  std::vector<gpu::sequence_start> requests() const {
    std::mt19937 random(5);
    std::vector<gpu::sequence_start> all;
    for (std::uint32_t i = 0; i < 40; ++i) {
      gpu::sequence_start start;
      start.sequence = 100 + i;
      for (std::size_t length = 1 + random() % 70; length > 0; --length)
        start.prompt.push_back(static_cast<token_id>(random() % model.vocab_size));
      start.params.max_tokens = 1 + static_cast<std::uint32_t>(random() % 30);
      start.params.temperature = i % 5 == 0 ? 0.0 : 0.7 + 0.1 * (i % 4);
      start.params.top_k = i % 3 == 0 ? 10 : -1;
      start.params.top_p = i % 4 == 0 ? 0.8 : 1.0;
      start.params.seed = i / 2;
      start.params.stop_tokens = {static_cast<token_id>(random() % model.vocab_size)};
      start.sample_index = i;
      all.push_back(start);
    }
    return all;
  }

  void step_into(outputs& out) {
    const auto step = sampler->step();
    BOOST_REQUIRE(step.has_value());
    for (const gpu::decoded_token& token : *step) {
      output& o = out[token.sequence];
      o.tokens.push_back(token.chosen.token);
      o.logprobs.push_back(token.chosen.logprob);
      o.reason = token.finished;
    }
  }

  outputs finish(outputs out = {}) {
    while (sampler->num_active() > 0)
      step_into(out);
    return out;
  }
};

BOOST_FIXTURE_TEST_CASE(sequences_do_not_see_each_other, fixture) {
  const auto all = requests();
  outputs alone;
  for (const auto& start : all) {
    BOOST_REQUIRE(sampler->admit(start).has_value());
    alone = finish(std::move(alone));
  }
  for (const auto& start : all)
    BOOST_REQUIRE(sampler->admit(start).has_value());
  BOOST_TEST((finish() == alone));

  for (auto start = all.rbegin(); start != all.rend(); ++start)
    BOOST_REQUIRE(sampler->admit(*start).has_value());
  BOOST_TEST((finish() == alone));

  outputs staggered;
  for (std::size_t i = 0; i < all.size(); ++i) {
    BOOST_REQUIRE(sampler->admit(all[i]).has_value());
    if (i % 3 == 0) step_into(staggered);
  }
  BOOST_TEST((finish(std::move(staggered)) == alone));
}

BOOST_FIXTURE_TEST_CASE(a_damaged_weight_ends_only_sequences_that_meet_it, fixture) {
  auto all = requests();
  constexpr token_id damaged = 3;
  for (auto& start : all) {
    std::ranges::replace(start.prompt, damaged, damaged + 1);
    start.wants_prompt_logprobs = start.sequence % 2 == 0;
  }
  for (const auto& start : all)
    BOOST_REQUIRE(sampler->admit(start).has_value());
  const outputs sound = finish();

  // Its embedding; another one is the head's.
  const std::uint64_t row = damaged * std::uint64_t{model.hidden_size};
  const std::uint16_t nan = gpu::to_bf16(std::numeric_limits<float>::quiet_NaN());
  BOOST_REQUIRE(memory.write({0, row, row + 1}, std::span(&nan, 1)).has_value());
  BOOST_REQUIRE(sampler->load(memory).has_value());
  std::set<std::uint64_t> met;
  for (std::size_t i = 0; i < all.size(); i += 3) {
    all[i].prompt.back() = damaged;
    met.insert(all[i].sequence);
  }
  for (const auto& start : all)
    BOOST_REQUIRE(sampler->admit(start).has_value());
  std::set<std::uint64_t> failed;
  outputs rest;
  while (sampler->num_active() > 0) {
    const auto step = sampler->step();
    BOOST_REQUIRE(step.has_value());
    for (const gpu::decoded_token& token : *step) {
      if (!token.failure) {
        rest[token.sequence].tokens.push_back(token.chosen.token);
        continue;
      }
      BOOST_TEST((token.failure->code == errc::not_finite));
      failed.insert(token.sequence);
    }
  }
  for (const std::uint64_t sequence : met)
    BOOST_TEST(failed.contains(sequence));
  for (const auto& start : all) {
    const auto& before = sound.at(start.sequence).tokens;
    // A sound sequence may decode the damaged token and fail then.
    const bool decodes_it = std::ranges::find(before, damaged) != before.end();
    if (met.contains(start.sequence) || decodes_it) continue;
    BOOST_TEST(!failed.contains(start.sequence));
    BOOST_TEST((rest[start.sequence].tokens == before));
  }
}

/// What the engine computed for `starts`, admitted together.
std::uint64_t tokens_computed(fixture& f, const std::vector<gpu::sequence_start>& starts,
                              outputs& out) {
  const std::uint64_t before = f.sampler->num_computed_tokens();
  for (const auto& start : starts)
    BOOST_REQUIRE(f.sampler->admit(start).has_value());
  out = f.finish();
  return f.sampler->num_computed_tokens() - before;
}

gpu::sequence_start long_request(std::size_t prompt_tokens, std::uint32_t max_tokens) {
  gpu::sequence_start start;
  for (std::size_t i = 0; i < prompt_tokens; ++i)
    start.prompt.push_back(static_cast<token_id>((i * 7 + i / 5) % 71));
  start.params.max_tokens = max_tokens;
  return start;
}

BOOST_FIXTURE_TEST_CASE(samples_of_one_prompt_compute_it_once, fixture) {
  for (const std::size_t prompt_tokens : {1U, 63U, 64U, 65U, 150U}) {
    std::vector<gpu::sequence_start> starts(6, long_request(prompt_tokens, 5));
    outputs alone;
    for (std::uint32_t i = 0; i < starts.size(); ++i) {
      starts[i].sequence = starts[i].sample_index = i;
      BOOST_REQUIRE(sampler->load(memory).has_value());
      outputs one;
      BOOST_TEST(tokens_computed(*this, {starts[i]}, one) == prompt_tokens + 4);
      alone.merge(one);
    }
    BOOST_REQUIRE(sampler->load(memory).has_value());
    outputs together;
    BOOST_TEST(tokens_computed(*this, starts, together) == prompt_tokens + starts.size() * 4);
    BOOST_TEST((together == alone));
    BOOST_TEST(tokens_computed(*this, starts, together) == starts.size() * 4);
    BOOST_TEST((together == alone));
  }
}

BOOST_FIXTURE_TEST_CASE(a_conversation_goes_on_where_it_was, fixture) {
  auto start = long_request(100, 60);
  outputs out;
  tokens_computed(*this, {start}, out);
  const auto& answer = out.at(0).tokens;
  start.prompt.insert(start.prompt.end(), answer.begin(), answer.end());
  start.prompt.push_back(3);
  outputs warm;
  BOOST_TEST(tokens_computed(*this, {start}, warm) == 161 - 128 + 59);
  BOOST_REQUIRE(sampler->load(memory).has_value());
  outputs cold;
  BOOST_TEST(tokens_computed(*this, {start}, cold) == 161 + 59);
  BOOST_TEST((warm == cold));
}

BOOST_FIXTURE_TEST_CASE(a_long_prompt_does_not_stop_others, fixture) {
  model.max_positions = 4000;
  sampler = std::move(*gpu::make_torch_sampler(model));
  BOOST_REQUIRE(sampler->load(memory).has_value());
  gpu::sequence_start quick = long_request(3, 20);
  gpu::sequence_start slow = long_request(limits::sampler_prefill_rows_max * 2, 1);
  slow.sequence = 1;
  BOOST_REQUIRE(sampler->admit(quick).has_value());
  BOOST_REQUIRE(sampler->admit(slow).has_value());
  outputs out;
  for (std::size_t tokens = 1; tokens <= 3; ++tokens) {
    step_into(out);
    BOOST_TEST(out.at(0).tokens.size() == tokens);
    BOOST_TEST(out.count(1) == (tokens == 3 ? 1U : 0U));
  }
}

BOOST_FIXTURE_TEST_CASE(caches_follow_the_policy_of_a_commit, fixture) {
  auto changed = memory;
  test::fill_randomly(changed, model, 22);
  auto start = long_request(90, 12);
  start.params.temperature = 0;
  const auto decode = [&](gpu::cache_policy policy) {
    BOOST_REQUIRE(sampler->load(memory).has_value());
    BOOST_REQUIRE(sampler->admit(start).has_value());
    outputs out;
    for (int i = 0; i < 4; ++i)
      step_into(out);
    auto staged = sampler->stage(changed);
    BOOST_REQUIRE(staged.has_value());
    BOOST_REQUIRE(sampler->commit(**staged, policy).has_value());
    return finish(std::move(out)).at(0);
  };
  const output kept = decode(gpu::cache_policy::keep);
  const output recomputed = decode(gpu::cache_policy::recompute);
  BOOST_TEST((kept.tokens.size() == 12U && recomputed.tokens.size() == 12U));
  // What follows a recomputation is what the new weights alone make of the tokens so far.
  BOOST_REQUIRE(sampler->load(changed).has_value());
  auto rest = start;
  rest.prompt.insert(rest.prompt.end(), recomputed.tokens.begin(), recomputed.tokens.begin() + 4);
  rest.params.max_tokens = 8;
  BOOST_REQUIRE(sampler->admit(rest).has_value());
  const output expected = finish().at(0);
  BOOST_TEST(
      std::vector(recomputed.logprobs.begin() + 4, recomputed.logprobs.end()) == expected.logprobs,
      boost::test_tools::per_element());
  BOOST_TEST((kept.logprobs != recomputed.logprobs));
}

BOOST_FIXTURE_TEST_CASE(thread_count_does_not_matter, fixture) {
  const auto all = requests();
  for (const auto& start : all)
    BOOST_REQUIRE(sampler->admit(start).has_value());
  const outputs expected = finish();
  sampler = std::move(
      *gpu::make_torch_sampler(model, {.threads = std::make_shared<gpu::thread_pool>(3)}));
  BOOST_REQUIRE(sampler->load(memory).has_value());
  for (const auto& start : all)
    BOOST_REQUIRE(sampler->admit(start).has_value());
  BOOST_TEST((finish() == expected));
}

BOOST_FIXTURE_TEST_CASE(seed_and_index_choose_the_sample, fixture) {
  auto start = requests()[1];
  start.params.max_tokens = 20;
  start.params.stop_tokens.clear();
  for (const std::uint32_t index : {0U, 1U}) {
    start.sequence = index;
    start.sample_index = index;
    BOOST_REQUIRE(sampler->admit(start).has_value());
  }
  start.sequence = 2;
  start.sample_index = 0;
  BOOST_REQUIRE(sampler->admit(start).has_value());
  start.sequence = 3;
  start.params.seed += 1;
  BOOST_REQUIRE(sampler->admit(start).has_value());
  const outputs out = finish();
  BOOST_TEST((out.at(0) == out.at(2)));
  BOOST_TEST((out.at(0).tokens != out.at(1).tokens));
  BOOST_TEST((out.at(0).tokens != out.at(3).tokens));
}

BOOST_FIXTURE_TEST_CASE(stop_token_ends_and_is_kept, fixture) {
  auto start = requests()[5];
  start.params.stop_tokens.clear();
  start.params.max_tokens = 10;
  BOOST_REQUIRE(sampler->admit(start).has_value());
  const output free = finish().at(start.sequence);
  BOOST_TEST(free.tokens.size() == 10U);
  BOOST_TEST((free.reason == stop_reason::length));
  start.params.stop_tokens = {free.tokens[3]};
  BOOST_REQUIRE(sampler->admit(start).has_value());
  const output stopped = finish().at(start.sequence);
  const auto first = std::find(free.tokens.begin(), free.tokens.end(), free.tokens[3]) + 1;
  BOOST_TEST((stopped.tokens == std::vector<token_id>(free.tokens.begin(), first)));
  BOOST_TEST((stopped.reason == stop_reason::stop));
}

BOOST_FIXTURE_TEST_CASE(patch_equals_loading_the_change, fixture) {
  auto changed = memory;
  std::mt19937 random(9);
  std::vector<gpu::element_patch> patches;
  std::uint32_t parameter = 0;
  for (auto& values : changed.parameters(gpu::state_part::weights)) {
    gpu::element_patch patch{parameter, {}, {}};
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t element = random() % values.size();
      const auto bits = gpu::to_bf16(0.3F * static_cast<float>(i) - 0.5F);
      patch.elements.push_back(element);
      patch.bits.push_back(bits);
      BOOST_REQUIRE(changed.write({parameter, element, element + 1}, {&bits, 1}).has_value());
    }
    patches.push_back(std::move(patch));
    ++parameter;
  }
  const auto start = requests()[2];
  BOOST_REQUIRE(sampler->admit(start).has_value());
  const outputs before = finish();
  BOOST_REQUIRE(sampler->patch(patches).has_value());
  BOOST_REQUIRE(sampler->admit(start).has_value());
  const outputs patched = finish();
  BOOST_REQUIRE(sampler->load(changed).has_value());
  BOOST_REQUIRE(sampler->admit(start).has_value());
  BOOST_TEST((finish() == patched));
  BOOST_TEST((before != patched));
}

BOOST_FIXTURE_TEST_CASE(bad_patches_change_nothing, fixture) {
  const auto start = requests()[2];
  BOOST_REQUIRE(sampler->admit(start).has_value());
  const outputs before = finish();
  const std::uint64_t embedding_size = std::uint64_t{model.vocab_size} * model.hidden_size;
  const gpu::element_patch good{0, {0}, {0x4000}};
  for (const gpu::element_patch& bad :
       {gpu::element_patch{0, {embedding_size}, {0}}, gpu::element_patch{1000, {0}, {0}},
        gpu::element_patch{0, {1, 2}, {0}}}) {
    const std::vector<gpu::element_patch> patches{good, bad};
    BOOST_TEST((sampler->patch(patches).error().code == errc::invalid_argument));
  }
  BOOST_REQUIRE(sampler->admit(start).has_value());
  BOOST_TEST((finish() == before));
}

BOOST_FIXTURE_TEST_CASE(admission_is_bounded, fixture) {
  gpu::sequence_start start;
  start.prompt = {1};
  start.params.max_tokens = 2;
  for (std::size_t i = 0; i < limits::sampler_active_max; ++i) {
    start.sequence = i;
    BOOST_REQUIRE(sampler->admit(start).has_value());
  }
  start.sequence = limits::sampler_active_max;
  BOOST_TEST((sampler->admit(start).error().code == errc::busy));
  sampler->cancel(3);
  BOOST_TEST(sampler->num_active() == limits::sampler_active_max - 1);
  BOOST_TEST(sampler->admit(start).has_value());
  const outputs out = finish();
  BOOST_TEST(out.size() == limits::sampler_active_max);
  BOOST_TEST(out.count(3) == 0U);
}

BOOST_FIXTURE_TEST_CASE(impossible_requests_are_refused, fixture) {
  const auto refusal = [&](const std::function<void(gpu::sequence_start&)>& spoil) {
    gpu::sequence_start start;
    start.prompt = {1, 2, 3};
    spoil(start);
    const auto ok = sampler->admit(start);
    return ok ? errc::none : ok.error().code;
  };
  using start_ref = gpu::sequence_start&;
  const errc bad = errc::invalid_argument;
  BOOST_TEST((refusal([](start_ref s) { s.prompt.clear(); }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.prompt = {71}; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.prompt = {-1}; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.params.max_tokens = 0; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.params.max_tokens = 398; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.params.top_p = 0; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.params.top_k = 0; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.params.temperature = -1; }) == bad));
  BOOST_TEST((refusal([](start_ref s) { s.params.max_tokens = 397; }) == errc::none));
  BOOST_TEST((refusal([](start_ref) {}) == errc::already_exists));
}

}  // namespace
