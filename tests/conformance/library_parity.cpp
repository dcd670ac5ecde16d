// The engine on the maths library's ops, as it computes on a GPU: against Hugging Face
// transformers, and against the engine on the kernels of this project. The same ops run on the
// processor here and, where there is one, on the first GPU.

#include <algorithm>
#include <array>
#include <ostream>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/devices.hpp"
#include "gpu/torch/maths_library.hpp"
#include "messages/state_digest.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_model.hpp"
#include "tests/conformance/parity_checks.hpp"
#include "tests/conformance/trainer_fixture.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using test::relative_distance;

/// One thread of the library, as in a node.
struct prepared_library {
  prepared_library() { gpu::prepare_maths_library(); }
};
BOOST_TEST_GLOBAL_FIXTURE(prepared_library);

enum class place : std::uint8_t { processor, gpu };
std::ostream& operator<<(std::ostream& out, place where) {
  return out << (where == place::processor ? "processor" : "gpu");
}

const auto places = boost::unit_test::data::make({place::processor, place::gpu});
const auto cases = boost::unit_test::data::make(
    {"tied", "untied", "odd", "wide_heads", "llama", "qwen2", "experts", "experts_plain"});

/// Says so and is true where a case needs a GPU that is not there.
bool lacks_gpu(place where) {
  if (where == place::processor) return false;
  const auto loaded = gpu::load_gpu_library();
  BOOST_REQUIRE(loaded.has_value());
  if (gpu::num_gpus() > 0) return false;
  BOOST_TEST_MESSAGE("skipped: no GPU");
  return true;
}

gpu::engine_resources resources_of(place where,
                                   gpu::compute_type compute = gpu::compute_type::fp32) {
  gpu::engine_resources resources;
  resources.compute = compute;
  resources.place =
      where == place::gpu ? gpu::on_gpu(0) : gpu::placement{std::nullopt, gpu::op_code::library};
  return resources;
}

struct loaded_case {
  test::golden_case golden;
  model_config model;
  std::unique_ptr<gpu::trainer_engine> trainer;
};

loaded_case load_case(const std::string& name, const gpu::engine_resources& resources) {
  auto [golden, model, weights] = test::read_golden_model(name);
  auto trainer =
      test::make_loaded_trainer(model, weights, std::move(gpu::make_thread_comms(1).front()),
                                optimizer_state::reset, 0, resources);
  return {std::move(golden), model, std::move(trainer)};
}

BOOST_DATA_TEST_CASE(logprobs_and_gradients_agree, places* cases, where, name) {
  if (lacks_gpu(where)) return;
  loaded_case c = load_case(name, resources_of(where));
  test::check_logprobs(name, c.golden, *c.trainer);
  BOOST_REQUIRE(
      c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {}).has_value());
  test::check_gradients(name, gpu::parameter_layout(c.model),
                        test::take_gradient(c.model, *c.trainer), c.golden);
}

BOOST_DATA_TEST_CASE(training_agrees, places* cases, where, name) {
  if (lacks_gpu(where)) return;
  loaded_case c = load_case(name, resources_of(where));
  test::check_norms(name, test::take_golden_steps(c.golden, *c.trainer));
  test::model_memory memory(c.model);
  BOOST_REQUIRE(c.trainer->save(memory).has_value());
  const double distance = relative_distance(memory.flat(state_part::weights), c.golden.trained);
  BOOST_TEST_MESSAGE(name << ": parameters after " << test::golden_steps << " steps " << distance);
  BOOST_TEST(distance <= 1e-4);
}

BOOST_DATA_TEST_CASE(bf16_is_near, places* cases, where, name) {
  if (lacks_gpu(where)) return;
  loaded_case c = load_case(name, resources_of(where, gpu::compute_type::bf16));
  const auto done = c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {});
  BOOST_REQUIRE(done.has_value());
  const double of_logprobs = relative_distance(test::joined(done->logprobs), c.golden.logprobs);
  const double of_gradients =
      relative_distance(test::take_gradient(c.model, *c.trainer), c.golden.gradients);
  BOOST_TEST_MESSAGE(name << ": logprobs " << of_logprobs << ", gradients " << of_gradients);
  BOOST_TEST(of_logprobs <= 2e-2);
  BOOST_TEST(of_gradients <= 5e-2);
  // Not fp32 under another name.
  BOOST_TEST(of_logprobs > 1e-5);
}

/// A model whose heads flash attention takes, and a batch with a strip of queries and more.
struct fixture {
  model_config model;
  std::vector<datum> batch;

  fixture() {
    model.vocab_size = 53;
    model.hidden_size = 20;
    model.intermediate_size = 37;
    model.num_layers = 2;
    model.num_heads = 4;
    model.num_kv_heads = 2;
    model.head_dim = 8;
    model.max_positions = 2048;
    batch = test::random_batch(model, {1, 1100, 13, 40}, 4);
    // Several targets for each position of one datum.
    datum& wide = batch[2];
    const std::vector<token_id> once = wide.target_tokens;
    const std::vector<float> weights = wide.weights;
    for (int more = 0; more < 2; ++more) {
      wide.target_tokens.insert(wide.target_tokens.end(), once.rbegin(), once.rend());
      wide.weights.insert(wide.weights.end(), weights.begin(), weights.end());
    }
  }

  std::unique_ptr<gpu::trainer_engine> trainer(const gpu::engine_resources& resources) const {
    test::model_memory memory(model);
    test::fill_randomly(memory, model, 3);
    return test::make_loaded_trainer(model, memory, std::move(gpu::make_thread_comms(1).front()),
                                     optimizer_state::reset, 0, resources);
  }

  std::vector<float> gradient(gpu::trainer_engine& trainer) const {
    BOOST_REQUIRE(trainer.forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    return test::take_gradient(model, trainer);
  }
};

BOOST_DATA_TEST_CASE_F(fixture, long_sequences_and_many_targets_agree, places, where) {
  if (lacks_gpu(where)) return;
  const auto own = trainer({});
  const auto library = trainer(resources_of(where));
  const auto expected = own->forward(1, batch, retention::discard);
  const auto actual = library->forward(1, batch, retention::discard);
  BOOST_REQUIRE(expected.has_value());
  BOOST_REQUIRE(actual.has_value());
  BOOST_TEST(relative_distance(test::joined(actual->logprobs), test::joined(expected->logprobs)) <=
             1e-5);
  BOOST_TEST(relative_distance(gradient(*library), gradient(*own)) <= 1e-4);
}

BOOST_DATA_TEST_CASE_F(fixture, the_digest_is_that_of_the_weights, places, where) {
  if (lacks_gpu(where)) return;
  const auto library = trainer(resources_of(where));
  BOOST_REQUIRE(library->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  const auto step = library->optim_step({.learning_rate = 1e-2, .eps = 1e-8});
  BOOST_REQUIRE(step.has_value());
  test::model_memory saved(model);
  BOOST_REQUIRE(library->save(saved).has_value());
  state_digest expected;
  const auto& parameters = saved.parameters(state_part::weights);
  for (std::uint32_t p = 0; p < parameters.size(); ++p)
    add_elements(expected, p, 0, std::span<const float>(parameters[p]));
  BOOST_TEST((step->weights == expected));
  BOOST_TEST((library->weights_digest() == expected));
}

const auto types = boost::unit_test::data::make(
    {static_cast<int>(gpu::compute_type::fp32), static_cast<int>(gpu::compute_type::bf16)});

BOOST_DATA_TEST_CASE_F(fixture, phases_and_repeats_give_the_same_bits, places* types, where, type) {
  if (lacks_gpu(where)) return;
  const auto resources = resources_of(where, static_cast<gpu::compute_type>(type));
  const auto one_shot = trainer(resources);
  const auto two_phase = trainer(resources);
  BOOST_REQUIRE(one_shot->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  BOOST_REQUIRE(two_phase->forward(1, batch, retention::keep_for_backward).has_value());
  std::vector<std::vector<float>> gradients;
  for (const datum& data : batch) {
    gradients.emplace_back();
    for (const float weight : data.weights)
      gradients.back().push_back(-weight);
  }
  BOOST_REQUIRE(two_phase->backward(1, gradients).has_value());
  const adam_params adam{.learning_rate = 1e-2, .eps = 1e-8};
  const auto first = one_shot->optim_step(adam);
  const auto second = two_phase->optim_step(adam);
  BOOST_REQUIRE(first.has_value());
  BOOST_REQUIRE(second.has_value());
  BOOST_TEST((first->weights == second->weights));
}

/// Several chunks of rows, nearly all of prompts: a product of a few rows has other bits than one
/// of a chunk.
BOOST_DATA_TEST_CASE_F(fixture, kept_logits_and_those_made_again_are_the_same, places* types, where,
                       type) {
  if (lacks_gpu(where)) return;
  model.vocab_size = 16'384;
  model.hidden_size = 96;
  batch = test::random_batch(model, {700, 90, 1, 300}, 5);
  for (datum& data : batch)
    for (std::size_t i = 0; i < data.weights.size(); ++i)
      if (data.weights.size() < 700 || (i != 40 && i != 42 && i != 640)) data.weights[i] = 0;
  auto resources = resources_of(where, static_cast<gpu::compute_type>(type));
  const auto keeping = trainer(resources);
  resources.kept_logit_bytes = 0;
  const auto repeating = trainer(resources);
  std::array<state_digest, 2> digests;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& each = i == 0 ? keeping : repeating;
    BOOST_REQUIRE(each->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    const auto step = each->optim_step({.learning_rate = 1e-2, .eps = 1e-8});
    BOOST_REQUIRE(step.has_value());
    digests[i] = step->weights;
  }
  BOOST_TEST((digests[0] == digests[1]));
}

/// What a rank computes for which a small batch left nothing.
BOOST_DATA_TEST_CASE_F(fixture, an_empty_batch_adds_nothing, places* types, where, type) {
  if (lacks_gpu(where)) return;
  const auto idle = trainer(resources_of(where, static_cast<gpu::compute_type>(type)));
  const auto scored = idle->forward(1, {}, retention::discard);
  BOOST_REQUIRE(scored.has_value());
  BOOST_TEST(scored->logprobs.empty());
  const auto done = idle->forward_backward(2, {}, loss_fn::cross_entropy, {});
  BOOST_REQUIRE(done.has_value());
  const auto gradient = test::take_gradient(model, *idle);
  BOOST_TEST(std::ranges::all_of(gradient, [](float g) { return g == 0.0F; }));
}

/// Two ranks that share one copy or hold one each, with parts for both or for one.
BOOST_FIXTURE_TEST_CASE(ranks_on_the_processor_agree, test::fixture) {
  auto one = groups(1, 0, memory);
  test::step_together(one, batch, 1);
  const auto expected = test::saved(model, one);
  const auto resources = resources_of(place::processor);
  for (const std::uint32_t shard_size : {2U, 1U})
    for (const std::size_t used : {2U, 1U}) {
      auto two = groups(2, shard_size, memory, optimizer_state::reset, 0, resources);
      auto again = groups(2, shard_size, memory, optimizer_state::reset, 0, resources);
      const state_digest digest = test::step_together(two, batch, used);
      BOOST_TEST((digest == test::step_together(again, batch, used)));
      const auto actual = test::saved(model, two);
      for (const state_part part : {state_part::exp_avg, state_part::exp_avg_sq})
        BOOST_TEST(relative_distance(actual.flat(part), expected.flat(part)) <= 1e-5);
      BOOST_TEST(relative_distance(actual.flat(state_part::weights),
                                   expected.flat(state_part::weights)) <= 1e-5);
    }
}

BOOST_DATA_TEST_CASE_F(fixture, adapters_agree, places, where) {
  if (lacks_gpu(where)) return;
  lora_config lora;
  lora.rank = 3;
  lora.alpha = 6;
  lora.train_unembed = true;
  std::array<std::vector<float>, 2> published;
  std::array<std::vector<float>, 2> adapters;
  const std::size_t first_adapter = gpu::parameter_layout(model).size();
  for (std::size_t i = 0; i < 2; ++i) {
    test::model_memory memory(model, lora);
    test::fill_randomly(memory, model, 3);
    auto& weights = memory.parameters(state_part::weights);
    for (std::size_t p = first_adapter; p < weights.size(); ++p)
      for (std::size_t e = 0; e < weights[p].size(); ++e)
        weights[p][e] = 0.1F * static_cast<float>(static_cast<int>((e * 7 + p) % 11) - 5);
    const auto trainer = test::make_adapter_trainer(
        model, lora, memory, std::move(gpu::make_thread_comms(1).front()), optimizer_state::reset,
        0, i == 0 ? gpu::engine_resources{} : resources_of(where));
    BOOST_REQUIRE(trainer->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    BOOST_REQUIRE(trainer->optim_step({.learning_rate = 1e-3, .eps = 1e-8}).has_value());
    BOOST_REQUIRE(trainer->save(memory).has_value());
    BOOST_REQUIRE(trainer->publish(memory).has_value());
    adapters[i] = memory.flat(state_part::weights, first_adapter);
    for (std::size_t p = 0; p < first_adapter; ++p)
      for (const float value : memory.published(p))
        published[i].push_back(value);
  }
  BOOST_TEST(relative_distance(adapters[1], adapters[0]) <= 1e-4);
  BOOST_TEST(relative_distance(published[1], published[0]) <= 1e-3);
}

}  // namespace
