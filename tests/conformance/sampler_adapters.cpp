// Adapters in the sampler: each sequence gets what its adapter merged into the weights would give
// it, whatever is decoded beside it; held sequences, pages and the prefix cache with them.
//
// Weights and adapters are small multiples of 2^-7, so that merged weights are exact in bf16 and a
// merged model is the same function as the model with its adapter beside it.

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/bf16.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/sampler.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using adapter_ref = std::shared_ptr<const gpu::sampler_adapter>;

constexpr float grid = 1.0F / 128;

struct output {
  std::vector<token_id> tokens;
  std::vector<float> logprobs;
  bool operator==(const output&) const = default;
};
using outputs = std::map<std::uint64_t, output>;

void write_bits(test::model_memory& memory, std::uint32_t parameter) {
  std::vector<std::uint16_t> bits;
  for (const float value : memory.parameters(state_part::weights)[parameter])
    bits.push_back(gpu::to_bf16(value));
  BOOST_REQUIRE(memory.write({parameter, 0, bits.size()}, bits).has_value());
}

/// Matrices on the grid; norms as bf16 has them.
test::model_memory gridded(const model_config& model) {
  test::model_memory memory(model);
  test::fill_randomly(memory, model, 31);
  const auto layout = gpu::parameter_layout(model);
  for (std::uint32_t p = 0; p < layout.size(); ++p) {
    for (float& value : memory.parameters(state_part::weights)[p])
      value = layout[p].shape.size() == 1
                  ? gpu::from_bf16(gpu::to_bf16(value))
                  : std::clamp(std::round(value / grid), -90.0F, 90.0F) * grid;
    write_bits(memory, p);
  }
  return memory;
}

struct one_adapter {
  lora_config lora;
  test::model_memory merged;
  adapter_ref staged;
};

struct fixture {
  explicit fixture(model_config wanted = test::small_sampler_model(400)) : model(wanted) {
    sampler = std::move(*gpu::make_torch_sampler(model));
    BOOST_REQUIRE(sampler->load(memory).has_value());
  }

  one_adapter make_adapter(std::uint32_t rank, std::uint32_t seed) {
    // alpha / rank is a power of two: nothing is rounded.
    one_adapter out{{.rank = rank, .alpha = 2.0 * rank, .seed = seed}, memory, nullptr};
    out.lora.train_unembed = !model.tied_head;
    using enum lora_target;
    if (seed % 2 == 1) out.lora.targets = {k_proj, o_proj, up_proj, down_proj};
    test::model_memory source(model, out.lora);
    auto& parameters = source.parameters(state_part::weights);
    std::mt19937 random(seed);
    const auto ternary = [&] { return static_cast<float>(static_cast<int>(random() % 3) - 1); };
    for (const gpu::adapter& each : gpu::adapters_of(model, out.lora)) {
      for (float& value : parameters[each.a])
        value = ternary();
      for (float& value : parameters[each.b])
        value = ternary() * grid / 2;
      auto& merged = out.merged.parameters(state_part::weights)[each.matrix];
      for (std::size_t row = 0; row < each.outputs; ++row)
        for (std::size_t column = 0; column < each.inputs; ++column)
          for (std::size_t r = 0; r < rank; ++r)
            merged[row * each.inputs + column] += 2 * parameters[each.b][row * rank + r] *
                                                  parameters[each.a][r * each.inputs + column];
      write_bits(out.merged, each.matrix);
    }
    auto staged = sampler->stage_adapter(out.lora, source);
    BOOST_REQUIRE(staged.has_value());
    out.staged = *staged;
    return out;
  }

  /// Sequence i takes adapter i modulo their number; the last of those is none.
  std::vector<gpu::sequence_start> requests(const std::vector<one_adapter>& adapters) const {
    std::mt19937 random(5);
    std::vector<gpu::sequence_start> all;
    std::vector<token_id> shared;
    for (int i = 0; i < 80; ++i)
      shared.push_back(static_cast<token_id>(random() % model.vocab_size));
    for (std::uint32_t i = 0; i < 30; ++i) {
      gpu::sequence_start start;
      start.sequence = i;
      if (i % 2 == 0) start.prompt = shared;
      for (std::size_t length = 1 + random() % 20; length > 0; --length)
        start.prompt.push_back(static_cast<token_id>(random() % model.vocab_size));
      start.params.max_tokens = 4 + static_cast<std::uint32_t>(random() % 12);
      start.params.temperature = i % 3 == 0 ? 0.0 : 0.9;
      start.params.seed = i;
      const std::size_t chosen = i % (adapters.size() + 1);
      if (chosen < adapters.size()) start.adapter = adapters[chosen].staged;
      all.push_back(start);
    }
    return all;
  }

  void step_into(outputs& out) {
    const auto step = sampler->step();
    BOOST_REQUIRE(step.has_value());
    for (const gpu::decoded_token& token : *step) {
      out[token.sequence].tokens.push_back(token.chosen.token);
      out[token.sequence].logprobs.push_back(token.chosen.logprob);
    }
  }

  outputs decode(const std::vector<gpu::sequence_start>& starts) {
    for (const auto& start : starts)
      BOOST_REQUIRE(sampler->admit(start).has_value());
    outputs out;
    while (sampler->num_active() > 0)
      step_into(out);
    return out;
  }

  output decode_one(const gpu::sequence_start& start) { return decode({start}).at(start.sequence); }

  model_config model;
  test::model_memory memory = gridded(model);
  std::unique_ptr<gpu::sampler_engine> sampler;
};

void check_near(const output& found, const output& expected) {
  BOOST_TEST(found.tokens == expected.tokens, boost::test_tools::per_element());
  BOOST_REQUIRE(found.logprobs.size() == expected.logprobs.size());
  for (std::size_t i = 0; i < found.logprobs.size(); ++i)
    BOOST_TEST(std::abs(found.logprobs[i] - expected.logprobs[i]) < 1e-4F);
}

/// Adapters of all ranks together, against each sequence alone and against merged weights.
void check_mixture(fixture& f, const std::vector<std::uint32_t>& ranks) {
  std::vector<one_adapter> adapters;
  for (const std::uint32_t rank : ranks)
    adapters.push_back(f.make_adapter(rank, 100 + rank));
  const auto starts = f.requests(adapters);
  const outputs together = f.decode(starts);
  BOOST_REQUIRE(f.sampler->load(f.memory).has_value());
  outputs alone;
  for (const auto& start : starts)
    alone[start.sequence] = f.decode_one(start);
  BOOST_TEST((together == alone));
  std::size_t num_changed = 0;
  for (std::size_t which = 0; which < adapters.size(); ++which) {
    BOOST_REQUIRE(f.sampler->load(adapters[which].merged).has_value());
    for (auto start : starts) {
      if (start.sequence % (adapters.size() + 1) != which) continue;
      start.adapter = nullptr;
      check_near(together.at(start.sequence), f.decode_one(start));
    }
    BOOST_REQUIRE(f.sampler->load(f.memory).has_value());
    for (auto start : starts) {
      start.adapter = nullptr;
      num_changed += f.decode_one(start).logprobs != together.at(start.sequence).logprobs ? 1 : 0;
    }
  }
  BOOST_TEST(num_changed > adapters.size() * starts.size() / 2);
}

BOOST_FIXTURE_TEST_CASE(a_mixture_equals_merged_weights, fixture) {
  check_mixture(*this, {1, 4, 16, 24});
}

BOOST_AUTO_TEST_CASE(experts_have_adapters_of_their_own) {
  model_config model = test::small_sampler_model(400);
  model.family = model_family::qwen3_moe;
  model.experts = {.count = 4, .per_token = 2, .width = 26, .weights_sum_to_one = true};
  fixture f(model);
  check_mixture(f, {2, 9, 20});
}

BOOST_AUTO_TEST_CASE(a_tied_head_has_none) {
  model_config model = test::small_sampler_model(400);
  model.family = model_family::qwen2;
  model.tied_head = true;
  fixture f(model);
  check_mixture(f, {3, 8});
}

BOOST_FIXTURE_TEST_CASE(prompts_are_remembered_by_adapter, fixture) {
  const one_adapter first = make_adapter(4, 1);
  const one_adapter second = make_adapter(8, 2);
  gpu::sequence_start start;
  for (int i = 0; i < 100; ++i)
    start.prompt.push_back(i % 71);
  start.params.max_tokens = 1;
  const auto computed_by = [&](const adapter_ref& adapter) {
    start.adapter = adapter;
    const std::uint64_t before = sampler->num_computed_tokens();
    (void)decode_one(start);
    return sampler->num_computed_tokens() - before;
  };
  for (const adapter_ref& adapter : {first.staged, second.staged, adapter_ref{}}) {
    BOOST_TEST(computed_by(adapter) == 100U);
    BOOST_TEST(computed_by(adapter) == 0U);
  }
  BOOST_TEST(computed_by(first.staged) == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_deployed_adapter_is_everybodys_who_has_none, fixture) {
  one_adapter deployed = make_adapter(8, 3);
  const one_adapter own = make_adapter(5, 4);
  auto starts = requests({own});
  BOOST_REQUIRE(starts.size() > 4);
  starts.resize(4);
  const outputs before = decode(starts);
  auto staged = sampler->stage(std::span<const gpu::element_patch>{});
  BOOST_REQUIRE(staged.has_value());
  (*staged)->adapter = deployed.staged;
  BOOST_REQUIRE(sampler->commit(**staged, gpu::cache_policy::keep).has_value());
  const outputs after = decode(starts);
  BOOST_REQUIRE(sampler->load(deployed.merged).has_value());
  for (const auto& start : starts) {
    if (start.adapter) {
      BOOST_TEST((after.at(start.sequence) == before.at(start.sequence)));
    } else {
      check_near(after.at(start.sequence), decode_one(start));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(a_commit_of_an_adapter_recomputes_what_it_changes, fixture) {
  one_adapter deployed = make_adapter(8, 3);
  const one_adapter own = make_adapter(5, 4);
  auto starts = requests({own});
  starts.resize(2);
  for (auto& start : starts) {
    start.params.max_tokens = 10;
    start.params.temperature = 0;
    BOOST_REQUIRE(sampler->admit(start).has_value());
  }
  outputs out;
  for (int i = 0; i < 4; ++i)
    step_into(out);
  auto staged = sampler->stage(std::span<const gpu::element_patch>{});
  (*staged)->adapter = deployed.staged;
  BOOST_REQUIRE(sampler->commit(**staged, gpu::cache_policy::recompute).has_value());
  const std::uint64_t computed = sampler->num_computed_tokens();
  step_into(out);
  const std::size_t without = starts[0].adapter ? 1 : 0;
  BOOST_TEST(sampler->num_computed_tokens() - computed == starts[without].prompt.size() + 4 + 1);
  while (sampler->num_active() > 0)
    step_into(out);
  auto rest = starts[without];
  const auto& tokens = out.at(rest.sequence).tokens;
  rest.prompt.insert(rest.prompt.end(), tokens.begin(), tokens.begin() + 4);
  rest.params.max_tokens = 6;
  const output expected = decode_one(rest);
  BOOST_TEST((std::vector(tokens.begin() + 4, tokens.end()) == expected.tokens));
}

BOOST_FIXTURE_TEST_CASE(adapters_of_other_models_are_refused, fixture) {
  fixture other(test::small_sampler_model(300));
  const one_adapter foreign = other.make_adapter(2, 1);
  gpu::sequence_start start;
  start.prompt = {1};
  start.adapter = foreign.staged;
  BOOST_TEST((sampler->admit(start).error().code == errc::invalid_argument));
  test::model_memory source(model, lora_config{.rank = 2});
  const auto too_large = sampler->stage_adapter(lora_config{.rank = 4096}, source);
  BOOST_TEST((too_large.error().code == errc::invalid_argument));
}

BOOST_FIXTURE_TEST_CASE(held_sequences_wait_and_lose_nothing, fixture) {
  auto starts = requests({});
  starts.resize(6);
  for (auto& start : starts)
    start.params.max_tokens = 9;
  const outputs expected = decode(starts);
  BOOST_REQUIRE(sampler->load(memory).has_value());
  for (const auto& start : starts)
    BOOST_REQUIRE(sampler->admit(start).has_value());
  outputs out;
  step_into(out);
  step_into(out);
  sampler->hold(starts[2].sequence);
  sampler->hold(starts[3].sequence);
  BOOST_TEST(sampler->usage().held == 2U);
  while (sampler->num_active() > 2)
    step_into(out);
  step_into(out);
  BOOST_TEST(out.at(starts[2].sequence).tokens.size() == 2U);
  sampler->resume(starts[2].sequence);
  sampler->resume(starts[3].sequence);
  while (sampler->num_active() > 0)
    step_into(out);
  BOOST_TEST((out == expected));
}

BOOST_FIXTURE_TEST_CASE(cancelled_sequences_give_their_pages_back, fixture) {
  for (const auto& start : requests({}))
    BOOST_REQUIRE(sampler->admit(start).has_value());
  outputs out;
  step_into(out);
  sampler->hold(4);
  BOOST_TEST(sampler->usage().cache_pages > sampler->usage().prompt_pages);
  for (std::uint64_t sequence = 0; sequence < 30; ++sequence)
    sampler->cancel(sequence);
  BOOST_TEST(sampler->num_active() == 0U);
  BOOST_TEST(sampler->usage().held == 0U);
  BOOST_TEST(sampler->usage().cache_pages == sampler->usage().prompt_pages);
  BOOST_REQUIRE(sampler->load(memory).has_value());
  BOOST_TEST(sampler->usage().cache_pages == 0U);
}

}  // namespace
