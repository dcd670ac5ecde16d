// The trainer against Hugging Face transformers, on the goldens of make_goldens.py.

#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"
#include "tests/conformance/parity_checks.hpp"

namespace {

using namespace troupe;
using test::relative_distance;

const auto cases = boost::unit_test::data::make({"tied", "untied", "odd", "wide_heads", "wide",
                                                 "llama", "llama_plain", "qwen2", "qwen2_untied",
                                                 "experts", "experts_plain"});

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
  test::check_logprobs(name, c.golden, *c.trainer);
}

BOOST_DATA_TEST_CASE(every_gradient_agrees, cases, name) {
  loaded_case c = load_case(name);
  BOOST_REQUIRE(
      c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {}).has_value());
  test::check_gradients(name, gpu::parameter_layout(c.model),
                        test::take_gradient(c.model, *c.trainer), c.golden);
}

BOOST_DATA_TEST_CASE(training_agrees, cases, name) {
  loaded_case c = load_case(name);
  test::take_golden_steps(c.golden, *c.trainer);
  test::model_memory memory(c.model);
  BOOST_REQUIRE(c.trainer->save(memory).has_value());
  const double distance =
      relative_distance(memory.flat(gpu::state_part::weights), c.golden.trained);
  BOOST_TEST_MESSAGE(name << ": parameters after " << test::golden_steps << " steps " << distance);
  BOOST_TEST(distance <= 1e-4);
}

}  // namespace
