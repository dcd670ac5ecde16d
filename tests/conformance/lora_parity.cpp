// Low-rank adapters against PEFT on transformers, on the goldens of make_goldens.py.

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "storage/peft_directory.hpp"
#include "storage/posix/tensor_file.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"
#include "tests/conformance/parity_checks.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using test::relative_distance;

const auto cases = boost::unit_test::data::make(
    {"lora_all", "lora_attention", "lora_mlp", "lora_chosen", "lora_head", "lora_experts"});

/// The options and numbers of make_goldens.py.
lora_config lora_of(const std::string& name) {
  using enum lora_target;
  const std::map<std::string, lora_config> all{
      {"lora_all", {.rank = 5, .alpha = 16}},
      {"lora_attention", {.rank = 8, .alpha = 8, .train_mlp = false, .train_unembed = false}},
      {"lora_mlp", {.rank = 3, .alpha = 32, .train_attn = false, .train_unembed = false}},
      {"lora_head", {.rank = 6, .alpha = 6, .train_attn = false, .train_mlp = false}},
      {"lora_experts", {.rank = 4, .alpha = 6}},
      {"lora_chosen",
       {.rank = 6, .alpha = 9, .targets = std::set{v_proj, o_proj, up_proj, lm_head}}}};
  return all.at(name);
}

struct loaded_case {
  std::string name;
  test::golden_case golden;
  lora_config lora;
  model_config model;
  std::unique_ptr<test::model_memory> memory;
  std::unique_ptr<gpu::trainer_engine> trainer;

  [[nodiscard]] std::size_t first_adapter() const { return gpu::parameter_layout(model).size(); }

  /// Adapters of one part of the trainer's state, in layout order.
  [[nodiscard]] std::vector<float> adapters(state_part part) const {
    test::model_memory saved(model, lora);
    BOOST_REQUIRE(trainer->save(saved).has_value());
    return saved.flat(part, first_adapter());
  }
};

/// Fills memory with the adapters that PEFT saved, by their names.
void read_adapters(loaded_case& c) {
  const auto path = c.golden.model_directory.parent_path() / "peft/adapter_model.safetensors";
  auto file = storage::posix::tensor_file::open(path.string());
  BOOST_REQUIRE(file.has_value());
  const auto layout = gpu::adapter_layout(c.model, c.lora);
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const auto& tensors = file->tensors();
    const auto found =
        std::ranges::find(tensors, layout[i].name, &storage::safetensors_entry::name);
    BOOST_REQUIRE_MESSAGE(found != tensors.end(), layout[i].name);
    BOOST_TEST((found->shape == layout[i].shape));
    auto& values = c.memory->parameters(state_part::weights)[c.first_adapter() + i];
    BOOST_REQUIRE(file->read(*found, 0, values).has_value());
  }
}

loaded_case load_case(const std::string& name) {
  loaded_case c{name, test::read_golden_case(name), lora_of(name), {}, {}, {}};
  auto directory = storage::open_hf_directory(c.golden.model_directory);
  BOOST_REQUIRE(directory.has_value());
  c.model = (*directory)->config();
  BOOST_REQUIRE(gpu::validate(c.model, c.lora).has_value());
  c.memory = std::make_unique<test::model_memory>(c.model, c.lora);
  const auto layout = gpu::parameter_layout(c.model);
  for (std::size_t p = 0; p < layout.size(); ++p) {
    auto& values = c.memory->parameters(state_part::weights)[p];
    BOOST_REQUIRE((*directory)->read(layout[p].name, 0, values).has_value());
  }
  read_adapters(c);
  c.trainer = test::make_adapter_trainer(c.model, c.lora, *c.memory,
                                         std::move(gpu::make_thread_comms(1).front()));
  return c;
}

BOOST_DATA_TEST_CASE(logprobs_agree, cases, name) {
  loaded_case c = load_case(name);
  test::check_logprobs(name, c.golden, *c.trainer);
}

BOOST_DATA_TEST_CASE(every_gradient_agrees, cases, name) {
  loaded_case c = load_case(name);
  BOOST_REQUIRE(
      c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {}).has_value());
  // Without learning rate and with beta1 = 0 the first moment is the gradient.
  BOOST_REQUIRE(c.trainer->optim_step({.learning_rate = 0, .beta1 = 0}).has_value());
  test::check_gradients(name, gpu::adapter_layout(c.model, c.lora), c.adapters(state_part::exp_avg),
                        c.golden);
}

BOOST_DATA_TEST_CASE(training_agrees, cases, name) {
  loaded_case c = load_case(name);
  test::check_norms(name, test::take_golden_steps(c.golden, *c.trainer));
  const double distance = relative_distance(c.adapters(state_part::weights), c.golden.trained);
  BOOST_TEST_MESSAGE(name << ": adapters after " << test::golden_steps << " steps " << distance);
  BOOST_TEST(distance <= 1e-4);
}

BOOST_DATA_TEST_CASE(published_weights_are_the_merged_ones, cases, name) {
  loaded_case c = load_case(name);
  test::take_golden_steps(c.golden, *c.trainer);
  BOOST_REQUIRE(c.trainer->publish(*c.memory).has_value());
  const auto merged = test::read_golden_floats(name, "merged.f32");
  const auto layout = gpu::parameter_layout(c.model);
  std::size_t at = 0;
  for (std::size_t p = 0; p < layout.size(); ++p) {
    const auto theirs = std::span(merged).subspan(at, layout[p].num_elements());
    // Rounding to bf16 moves each value by at most 2^-8 of itself.
    const double distance = relative_distance(c.memory->published(p), theirs);
    BOOST_TEST(distance <= 1.0 / 256, layout[p].name << " differs by " << distance);
    at += layout[p].num_elements();
  }
  BOOST_TEST(at == merged.size());
}

class adapter_reader final : public storage::tensor_reader {
 public:
  explicit adapter_reader(const loaded_case& c)
      : memory_(c.model, c.lora), first_(c.first_adapter()) {
    BOOST_REQUIRE(c.trainer->save(memory_).has_value());
  }
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    const auto index = static_cast<std::uint32_t>(first_ + parameter);
    return memory_.read(state_part::weights, {index, begin, begin + out.size()}, out);
  }

 private:
  test::model_memory memory_;
  const std::size_t first_;
};

/// check_peft_export.py loads what this writes.
BOOST_DATA_TEST_CASE(adapters_are_exported, cases, name) {
  loaded_case c = load_case(name);
  test::take_golden_steps(c.golden, *c.trainer);
  const auto folder = c.golden.model_directory.parent_path() / "exported";
  std::filesystem::remove_all(folder);
  adapter_reader reader(c);
  const storage::peft_export target{folder.string(), c.golden.model_directory.string(), c.lora};
  const auto layout = gpu::adapter_layout(c.model, c.lora);
  BOOST_REQUIRE(storage::write_peft_directory(target, layout, reader).has_value());
  auto file = storage::posix::tensor_file::open((folder / "adapter_model.safetensors").string());
  BOOST_REQUIRE(file.has_value());
  BOOST_TEST(file->tensors().size() == layout.size());
  BOOST_TEST(
      (storage::write_peft_directory(target, layout, reader).error().code == errc::already_exists));
}

}  // namespace
