// Training whose products are rounded to bf16, against the fp32 goldens: within what bf16's eight
// bits give, with the promises that hold in fp32.

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_model.hpp"
#include "tests/conformance/parity_checks.hpp"

namespace {

using namespace troupe;
using test::relative_distance;

std::unique_ptr<gpu::engine_factory> bf16_engines() {
  gpu::engine_options options;
  options.compute = gpu::compute_type::bf16;
  auto made = gpu::make_engine_factory(options);
  BOOST_REQUIRE(made.has_value());
  return std::move(*made);
}

struct loaded_case {
  test::golden_case golden;
  model_config model;
  std::unique_ptr<gpu::trainer_engine> trainer;
};

loaded_case load_case(gpu::engine_factory& engines, const std::string& name) {
  auto [golden, model, weights] = test::read_golden_model(name);
  auto trainer = engines.make_trainer(model, std::move(gpu::make_thread_comms(1).front()));
  BOOST_REQUIRE(trainer.has_value());
  BOOST_REQUIRE((*trainer)->load(weights, optimizer_state::reset, 0).has_value());
  return {std::move(golden), model, std::move(*trainer)};
}

const auto cases = boost::unit_test::data::make({"tied", "wide", "llama", "qwen2", "experts"});

BOOST_DATA_TEST_CASE(logprobs_and_gradients_are_near, cases, name) {
  const auto engines = bf16_engines();
  loaded_case c = load_case(*engines, name);
  const auto done = c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {});
  BOOST_REQUIRE(done.has_value());
  const double logprob_distance =
      relative_distance(test::joined(done->logprobs), c.golden.logprobs);
  const double gradient_distance =
      relative_distance(test::take_gradient(c.model, *c.trainer), c.golden.gradients);
  BOOST_TEST_MESSAGE(name << ": logprobs " << logprob_distance << ", gradients "
                          << gradient_distance);
  BOOST_TEST(logprob_distance <= 2e-2);
  BOOST_TEST(gradient_distance <= 5e-2);
  // Not the fp32 engine under another name.
  BOOST_TEST(logprob_distance > 1e-5);
}

BOOST_DATA_TEST_CASE(master_weights_follow_the_same_path, cases, name) {
  const auto engines = bf16_engines();
  loaded_case c = load_case(*engines, name);
  test::take_golden_steps(c.golden, *c.trainer);
  test::model_memory saved(c.model);
  BOOST_REQUIRE(c.trainer->save(saved).has_value());
  const double distance = relative_distance(saved.flat(gpu::state_part::weights), c.golden.trained);
  BOOST_TEST_MESSAGE(name << ": parameters after 20 steps " << distance);
  BOOST_TEST(distance <= 1e-2);
}

struct adapter_outcome {
  std::vector<float> logprobs;
  std::vector<float> gradients;  ///< of the adapters
};

adapter_outcome outcome_of(gpu::trainer_engine& trainer, const test::golden_case& golden,
                           test::model_memory& memory, std::size_t first_adapter) {
  const auto done = trainer.forward_backward(1, golden.batches[0], loss_fn::cross_entropy, {});
  BOOST_REQUIRE(done.has_value());
  // Without learning rate and with beta1 = 0 the first moment is the gradient.
  BOOST_REQUIRE(trainer.optim_step({.learning_rate = 0, .beta1 = 0}).has_value());
  BOOST_REQUIRE(trainer.save(memory).has_value());
  return {test::joined(done->logprobs), memory.flat(gpu::state_part::exp_avg, first_adapter)};
}

BOOST_DATA_TEST_CASE(adapters_are_near, boost::unit_test::data::make({"untied", "experts"}), name) {
  const auto engines = bf16_engines();
  if (!engines) return;
  auto [golden, model, weights] = test::read_golden_model(name);
  const lora_config lora{.rank = 4, .alpha = 8};
  test::model_memory memory(model, lora);
  auto& values = memory.parameters(gpu::state_part::weights);
  const std::size_t first_adapter = gpu::parameter_layout(model).size();
  std::ranges::copy(weights.parameters(gpu::state_part::weights), values.begin());
  for (std::size_t p = first_adapter; p < values.size(); ++p)
    for (std::size_t e = 0; e < values[p].size(); ++e)
      values[p][e] = 0.02F * static_cast<float>(static_cast<int>((e * 7 + p) % 11) - 5);
  const auto exact =
      test::make_adapter_trainer(model, lora, memory, std::move(gpu::make_thread_comms(1).front()));
  auto rounded =
      engines->make_adapter_trainer({model}, lora, std::move(gpu::make_thread_comms(1).front()));
  BOOST_REQUIRE(rounded.has_value());
  BOOST_REQUIRE((*rounded)->load_frozen(memory).has_value());
  BOOST_REQUIRE((*rounded)->load(memory, optimizer_state::reset, 0).has_value());
  const auto expected = outcome_of(*exact, golden, memory, first_adapter);
  const auto actual = outcome_of(**rounded, golden, memory, first_adapter);
  const double logprob_distance = relative_distance(actual.logprobs, expected.logprobs);
  const double gradient_distance = relative_distance(actual.gradients, expected.gradients);
  BOOST_TEST_MESSAGE(name << ": logprobs " << logprob_distance << ", gradients "
                          << gradient_distance);
  BOOST_TEST(logprob_distance <= 2e-2);
  BOOST_TEST(gradient_distance <= 5e-2);
  BOOST_TEST(logprob_distance > 1e-5);
  BOOST_TEST(gradient_distance > 1e-5);
}

BOOST_AUTO_TEST_CASE(packing_and_phases_change_no_bit) {
  const auto engines = bf16_engines();
  loaded_case packed = load_case(*engines, "untied");
  loaded_case single = load_case(*engines, "untied");
  const auto& batch = packed.golden.batches[1];
  const auto all = packed.trainer->forward(1, batch, retention::keep_for_backward);
  BOOST_REQUIRE(all.has_value());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto one = single.trainer->forward(1, std::span(batch).subspan(i, 1), retention::discard);
    BOOST_REQUIRE(one.has_value());
    BOOST_TEST((one->logprobs.front() == all->logprobs[i]));
  }
  std::vector<std::vector<float>> gradients;
  for (const datum& data : batch) {
    gradients.emplace_back();
    for (const float weight : data.weights)
      gradients.back().push_back(-weight);
  }
  BOOST_REQUIRE(packed.trainer->backward(1, gradients).has_value());
  BOOST_REQUIRE(single.trainer->forward_backward(2, batch, loss_fn::cross_entropy, {}).has_value());
  const adam_params adam{.learning_rate = 1e-2, .eps = 1e-8};
  BOOST_TEST(
      (packed.trainer->optim_step(adam)->weights == single.trainer->optim_step(adam)->weights));
}

}  // namespace
