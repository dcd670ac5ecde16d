// Speed of training on one GPU, beside the goals for one H200. One JSON object for each row; a
// ratio above 1 meets its goal.
//
// MFU counts 6 operations for each parameter in a product and token, 4 where weights are frozen,
// and 12 * layers * heads * head size * length for attention, as if it were not causal, over 989
// dense bf16 TFLOP/s. The head counts, the embedding does not. Every position has weight 1: the
// engine leaves out those without, which would be counted here.
//
// Usage: gpu_bench [--device cuda:N] [--row NAME] [--steps N]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "tests/bench/command_line.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;
using bench::give_up;
using bench::need;
namespace json = boost::json;

constexpr double peak_flops = 989e12;

struct row {
  std::string name;
  model_config model;
  std::uint32_t lora_rank = 0;  ///< 0: all parameters
  std::vector<std::size_t> lengths;
  double goal_tokens_per_second = 0;
};

model_config qwen3(std::uint32_t hidden, std::uint32_t inner, std::uint32_t layers,
                   std::uint32_t heads, bool tied) {
  model_config m;
  m.vocab_size = 151'936;
  m.hidden_size = hidden;
  m.intermediate_size = inner;
  m.num_layers = layers;
  m.num_heads = heads;
  m.num_kv_heads = 8;
  m.head_dim = 128;
  m.max_positions = 40'960;
  m.tied_head = tied;
  return m;
}

model_config tiny() {
  model_config m = qwen3(64, 96, 2, 8, true);
  m.vocab_size = 512;
  m.head_dim = 16;
  return m;
}

std::vector<row> all_rows() {
  return {{"Qwen3-0.6B, all parameters", qwen3(1024, 3072, 28, 16, true), 0,
           std::vector<std::size_t>(8, 2048), 60'000},
          {"Qwen3-8B, LoRA", qwen3(4096, 12'288, 36, 32, false), 16,
           std::vector<std::size_t>(8, 2048), 10'000}};
}

/// Small weights out of nothing: the bench needs no model and no second copy of one.
class seeded_weights final : public gpu::parameter_source {
 public:
  explicit seeded_weights(const model_config& model) : layout_(gpu::parameter_layout(model)) {}

  result<void> read(gpu::state_part, const gpu::parameter_slice& slice,
                    std::span<float> out) override {
    const auto& shape = layout_.at(slice.parameter).shape;
    std::uint64_t state = slice.begin * 0x9e3779b97f4a7c15ULL + slice.parameter;
    for (float& value : out) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      const auto unit = static_cast<float>(static_cast<std::int32_t>(state >> 32U)) / 2147483648.0F;
      value = shape.size() == 1 ? 1.0F : 0.05F * unit;
    }
    return {};
  }

 private:
  std::vector<parameter_spec> layout_;
};

std::unique_ptr<gpu::trainer_engine> make_trainer(gpu::engine_factory& engines, const row& of) {
  auto alone = std::move(gpu::make_thread_comms(1).front());
  seeded_weights weights(of.model);
  if (of.lora_rank == 0) {
    auto trainer = need(engines.make_trainer(of.model, std::move(alone)));
    need(trainer->load(weights, optimizer_state::reset, 0));
    return trainer;
  }
  const lora_config lora{.rank = of.lora_rank, .train_unembed = false};
  auto trainer = need(engines.make_adapter_trainer({of.model}, lora, std::move(alone)));
  need(trainer->load_frozen(weights));
  gpu::initial_adapters first(of.model, lora);
  need(trainer->load(first, optimizer_state::reset, 0));
  return trainer;
}

/// Of one step, by the convention above.
double step_flops(const row& of) {
  const model_config& m = of.model;
  const double queries = static_cast<double>(m.num_heads) * m.head_dim;
  const double keys = static_cast<double>(m.num_kv_heads) * m.head_dim;
  const double hidden = m.hidden_size;
  const double block = hidden * (queries + 2 * keys) + queries * hidden +
                       3 * hidden * static_cast<double>(m.intermediate_size);
  const double in_products = m.num_layers * block + hidden * m.vocab_size;
  double flops = 0;
  for (const std::size_t length : of.lengths) {
    const auto tokens = static_cast<double>(length);
    flops +=
        tokens * ((of.lora_rank == 0 ? 6 : 4) * in_products + 12 * m.num_layers * queries * tokens);
  }
  return flops;
}

json::object measure(gpu::engine_factory& engines, const row& of, std::uint32_t steps) {
  const auto trainer = make_trainer(engines, of);
  const auto batch = test::whole_batch(of.model, of.lengths, 1);
  double best = std::numeric_limits<double>::infinity();
  // The first one makes the library choose its algorithms and reserve its memory.
  for (std::uint32_t step = 0; step < steps + 1; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    (void)need(trainer->forward_backward(1, batch, loss_fn::cross_entropy, {}));
    (void)need(trainer->optim_step({.learning_rate = 1e-6, .grad_clip_norm = 1.0}));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (step > 0) best = std::min(best, taken.count());
  }
  double tokens = 0;
  for (const std::size_t length : of.lengths)
    tokens += static_cast<double>(length);
  json::object out;
  out["row"] = of.name;
  out["step_seconds"] = best;
  out["tokens_per_second"] = tokens / best;
  if (of.goal_tokens_per_second > 0) {
    out["goal_tokens_per_second"] = of.goal_tokens_per_second;
    out["ratio"] = tokens / best / of.goal_tokens_per_second;
  }
  out["mfu_not_causal_of_989_tflops"] = step_flops(of) / best / peak_flops;
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  gpu::engine_options engine;
  engine.device = "cuda";
  engine.compute = gpu::compute_type::bf16;
  std::string wanted;
  std::uint32_t steps = 5;
  bench::command_line line("Speed of training on one GPU, beside the goals for one H200.");
  line.add_text("device", engine.device, "cuda:N");
  line.add_text("row", wanted, "only this one");
  line.add("steps", steps, "of which the fastest counts");
  line.parse(argc, argv);
  std::vector<row> rows = all_rows();
  if (!wanted.empty()) {
    rows.push_back({"tiny", tiny(), 0, {64, 32}, 0});
    rows.push_back({"tiny, LoRA", tiny(), 4, {64, 32}, 0});
    std::erase_if(rows, [&](const row& each) { return each.name != wanted; });
    if (rows.empty()) give_up("no row '" + wanted + "'");
  }
  if (engine.device == "cpu") engine.compute = gpu::compute_type::fp32;
  const auto engines = need(gpu::make_engine_factory(engine));
  for (const row& each : rows)
    std::printf("%s\n", json::serialize(measure(*engines, each, steps)).c_str());
  return 0;
}
