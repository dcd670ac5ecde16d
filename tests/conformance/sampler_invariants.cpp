// What a sampler promises: sequences do not see each other, weights change between steps, bounds.

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/bf16.hpp"
#include "gpu/torch/sampler.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;

model_config small_model() {
  model_config m;
  m.vocab_size = 71;
  m.hidden_size = 40;
  m.intermediate_size = 50;
  m.num_layers = 2;
  m.num_heads = 4;
  m.num_kv_heads = 2;
  m.head_dim = 12;
  m.max_positions = 400;
  return m;
}

struct output {
  std::vector<token_id> tokens;
  std::vector<float> logprobs;
  std::optional<stop_reason> reason;
  bool operator==(const output&) const = default;
};
using outputs = std::map<std::uint64_t, output>;

struct fixture {
  model_config model = small_model();
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
      o.tokens.push_back(token.token);
      o.logprobs.push_back(token.logprob);
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
