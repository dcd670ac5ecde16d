// The trainer against Hugging Face transformers, on the goldens of make_goldens.py.

#include <span>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"

namespace {

using namespace troupe;
using test::relative_distance;

const auto cases = boost::unit_test::data::make({"tied", "untied", "odd", "wide_heads", "wide",
                                                 "llama", "llama_plain", "qwen2", "qwen2_untied",
                                                 "experts", "experts_plain"});

/// Steps and parameters of make_goldens.py.
constexpr std::size_t steps = 20;
adam_params golden_adam() {
  return {.learning_rate = 1e-3,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .grad_clip_norm = 2.0};
}

struct loaded_case {
  test::golden_case golden;
  model_config model;
  std::unique_ptr<gpu::trainer_engine> trainer;
};

loaded_case load_case(const std::string& name) {
  loaded_case loaded{test::read_golden_case(name), {}, {}};
  auto directory = storage::open_hf_directory(loaded.golden.model_directory);
  BOOST_REQUIRE(directory.has_value());
  loaded.model = (*directory)->config();
  BOOST_REQUIRE(gpu::validate(loaded.model).has_value());
  const auto layout = gpu::parameter_layout(loaded.model);
  BOOST_REQUIRE((*directory)->check_layout(layout).has_value());
  test::model_memory memory(loaded.model);
  for (std::size_t p = 0; p < layout.size(); ++p) {
    auto& values = memory.parameters(gpu::state_part::weights)[p];
    BOOST_REQUIRE((*directory)->read(layout[p].name, 0, values).has_value());
  }
  loaded.trainer =
      test::make_loaded_trainer(loaded.model, memory, std::move(gpu::make_thread_comms(1).front()));
  return loaded;
}

BOOST_DATA_TEST_CASE(logprobs_agree, cases, name) {
  loaded_case c = load_case(name);
  const auto forward = c.trainer->forward(1, c.golden.batches[0], retention::discard);
  BOOST_REQUIRE(forward.has_value());
  std::vector<float> logprobs;
  for (const auto& part : forward->logprobs)
    logprobs.insert(logprobs.end(), part.begin(), part.end());
  const double distance = relative_distance(logprobs, c.golden.logprobs);
  BOOST_TEST_MESSAGE(name << ": logprobs " << distance);
  BOOST_TEST(distance <= 1e-5);
}

BOOST_DATA_TEST_CASE(every_gradient_agrees, cases, name) {
  loaded_case c = load_case(name);
  BOOST_REQUIRE(
      c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {}).has_value());
  const std::vector<float> gradients = test::take_gradient(c.model, *c.trainer);
  BOOST_REQUIRE(gradients.size() == c.golden.gradients.size());
  std::size_t at = 0;
  double worst = 0;
  for (const parameter_spec& spec : gpu::parameter_layout(c.model)) {
    const auto mine = std::span(gradients).subspan(at, spec.num_elements());
    const auto theirs = std::span(c.golden.gradients).subspan(at, spec.num_elements());
    const double distance = relative_distance(mine, theirs);
    BOOST_TEST(distance <= 1e-4, spec.name << " differs by " << distance);
    worst = std::max(worst, distance);
    at += spec.num_elements();
  }
  BOOST_TEST_MESSAGE(name << ": worst gradient " << worst);
}

BOOST_DATA_TEST_CASE(training_agrees, cases, name) {
  loaded_case c = load_case(name);
  const auto& batches = c.golden.batches;
  for (std::size_t step = 0; step < steps; ++step) {
    const auto& batch = batches[step % batches.size()];
    BOOST_REQUIRE(c.trainer->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    BOOST_REQUIRE(c.trainer->optim_step(golden_adam()).has_value());
  }
  test::model_memory memory(c.model);
  BOOST_REQUIRE(c.trainer->save(memory).has_value());
  const double distance =
      relative_distance(memory.flat(gpu::state_part::weights), c.golden.trained);
  BOOST_TEST_MESSAGE(name << ": parameters after " << steps << " steps " << distance);
  BOOST_TEST(distance <= 1e-4);
}

}  // namespace
