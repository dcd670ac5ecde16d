// Speed of the engine: the training step that engine_baseline.py runs on transformers, and decoding
// of many short sequences. Prints one JSON line per measurement.
//
// Usage: engine_bench [--threads N] [--steps N] [--hidden N] [--layers N] [--vocabulary N]
//                     [--sequences N] [--tokens N] [--decode N]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <string>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/make_engine.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;
using options = std::map<std::string, std::uint32_t>;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

model_config model_of(options& o) {
  model_config m;
  m.vocab_size = o["vocabulary"];
  m.hidden_size = o["hidden"];
  m.intermediate_size = 3 * o["hidden"];
  m.num_layers = o["layers"];
  m.num_heads = std::max(1U, o["hidden"] / 64);
  m.num_kv_heads = std::max(1U, o["hidden"] / 128);
  m.head_dim = 64;
  m.max_positions = 4096;
  m.tied_head = true;
  return m;
}

[[noreturn]] void give_up(const error& e) {
  std::fprintf(stderr, "%s\n", to_string(e).c_str());
  std::exit(1);
}

void bench_training(gpu::engine_factory& engines, const model_config& model,
                    test::model_memory& memory, options& o) {
  auto trainer = engines.make_trainer(model, std::move(gpu::make_thread_comms(1).front()));
  if (!trainer) give_up(trainer.error());
  if (auto ok = (*trainer)->load(memory, optimizer_state::reset, 0); !ok) give_up(ok.error());
  const auto batch =
      test::random_batch(model, std::vector<std::size_t>(o["sequences"], o["tokens"]), 1);
  adam_params adam;
  adam.learning_rate = 1e-3;
  adam.grad_clip_norm = 1.0;
  double best = std::numeric_limits<double>::infinity();
  double best_step = best;
  for (std::uint32_t step = 0; step < o["steps"]; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    const auto done = (*trainer)->forward_backward(1, batch, loss_fn::cross_entropy, {});
    if (!done) give_up(done.error());
    const auto middle = std::chrono::steady_clock::now();
    if (const auto stepped = (*trainer)->optim_step(adam); !stepped) give_up(stepped.error());
    best_step = std::min(best_step, seconds_since(middle));
    best = std::min(best, seconds_since(begin));
  }
  std::printf(
      "{\"name\": \"train\", \"seconds_per_step\": %.6f, \"optim_step_seconds\": %.6f, "
      "\"tokens_per_second\": %.0f}\n",
      best, best_step, o["sequences"] * o["tokens"] / best);
}

void bench_decoding(gpu::engine_factory& engines, const model_config& model,
                    test::model_memory& memory, options& o) {
  auto sampler = engines.make_sampler(model);
  if (!sampler) give_up(sampler.error());
  if (auto ok = (*sampler)->load(memory); !ok) give_up(ok.error());
  std::mt19937 random(2);
  for (std::uint32_t i = 0; i < o["decode"]; ++i) {
    gpu::sequence_start start;
    start.sequence = i;
    for (int t = 0; t < 24; ++t)
      start.prompt.push_back(static_cast<token_id>(random() % model.vocab_size));
    start.params.max_tokens = 32;
    start.sample_index = i;
    if (auto ok = (*sampler)->admit(start); !ok) give_up(ok.error());
  }
  const auto begin = std::chrono::steady_clock::now();
  std::size_t tokens = 0;
  while ((*sampler)->num_active() > 0) {
    const auto step = (*sampler)->step();
    if (!step) give_up(step.error());
    tokens += step->size();
  }
  const double seconds = seconds_since(begin);
  std::printf("{\"name\": \"decode\", \"sequences\": %u, \"tokens_per_second\": %.0f}\n",
              o["decode"], static_cast<double>(tokens) / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  options o{{"threads", 2},       {"steps", 8},     {"hidden", 256}, {"layers", 4},
            {"vocabulary", 4096}, {"sequences", 8}, {"tokens", 256}, {"decode", 256}};
  for (int i = 1; i + 1 < argc; i += 2)
    o[std::string(argv[i]).substr(2)] =
        static_cast<std::uint32_t>(std::strtoul(argv[i + 1], nullptr, 10));
  const model_config model = model_of(o);
  gpu::engine_options engine;
  engine.num_threads = o["threads"];
  auto engines = gpu::make_engine_factory(engine);
  if (!engines) give_up(engines.error());
  test::model_memory memory(model);
  test::fill_randomly(memory, model, 1);
  if (o["steps"] > 0) bench_training(**engines, model, memory, o);
  if (o["decode"] > 0) bench_decoding(**engines, model, memory, o);
  return 0;
}
