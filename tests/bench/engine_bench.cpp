// Speed and memory of training: one-shot steps, two-phase steps beside the double pass they spare,
// and adapters beside all parameters. One JSON object; with --baseline, engine_baseline.py's
// numbers from the same machine at the same time, and ratios (more than 1: the engine is better).
//
// Every workload is measured in a process of its own, in turn with the baseline's, so that peaks of
// memory are its own and a busy machine slows both.
//
// Two ranks, a process each, are measured with blocks gathered ahead and on demand. Shares of time
// are of a whole step, its AdamW included; attention counts as a product.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/adapters.hpp"
#include "tests/bench/command_line.hpp"
#include "tests/bench/engine_ranks.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;
using bench::give_up;
using bench::need;
using bench::number_of;
namespace json = boost::json;

struct workload {
  std::string name;
  std::uint32_t hidden = 0;
  std::uint32_t layers = 0;
  std::uint32_t vocabulary = 0;
  std::vector<std::size_t> lengths;
};

std::vector<workload> all_workloads() {
  return {{"h256 l4 8x256", 256, 4, 4096, std::vector<std::size_t>(8, 256)},
          {"h512 l8 4x256", 512, 8, 8192, std::vector<std::size_t>(4, 256)},
          {"h512 l8 2x1024", 512, 8, 8192, std::vector<std::size_t>(2, 1024)},
          {"h256 l4 mixed", 256, 4, 4096, {32, 1024, 64, 200, 512, 48, 96, 320, 40, 128}}};
}

struct options {
  std::uint32_t threads = 2;
  std::uint32_t steps = 3;
  std::uint32_t rounds = 3;
  std::string python = TROUPE_BENCH_PYTHON;
  std::string workload_name;
  std::string part;  ///< of a workload: "ranks" for two processes, else one
};

options read_options(int argc, char** argv) {
  options o;
  bench::command_line words("How fast training is, and how much memory it takes.");
  words.add("threads", o.threads, "of the engine and of the baseline");
  words.add("steps", o.steps, "of one round, of which the best counts");
  words.add("rounds", o.rounds,
            "of the engine and of the baseline in turn; the best of all counts");
  words.add_baseline(o.python);
  words.add_text("workload", o.workload_name, "this one alone, in this process");
  words.add_text("part", o.part, "of that workload, for the processes it is made of");
  words.parse(argc, argv);
  return o;
}

model_config model_of(const workload& w) {
  model_config m;
  m.vocab_size = w.vocabulary;
  m.hidden_size = w.hidden;
  m.intermediate_size = 3 * w.hidden;
  m.num_layers = w.layers;
  m.num_heads = std::max(1U, w.hidden / 64);
  m.num_kv_heads = std::max(1U, w.hidden / 128);
  m.head_dim = 64;
  m.max_positions = 4096;
  m.tied_head = true;
  return m;
}

double peak_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "VmHWM:" && status >> word) return std::stod(word) * 1024;
  return 0;
}

/// One trainer and what it repeats.
struct bench {
  gpu::trainer_engine& trainer;
  const std::vector<datum>& batch;
  std::uint32_t steps;

  [[nodiscard]] double once(const std::function<void()>& pass) const {
    const auto begin = std::chrono::steady_clock::now();
    pass();
    (void)need(trainer.optim_step({.learning_rate = 1e-3, .grad_clip_norm = 1.0}));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// Of the best step: its seconds, and the share outside products and attention. As many steps as
  /// the baseline takes with both its kinds of attention.
  [[nodiscard]] std::pair<double, double> one_shot_parts() const {
    std::pair<double, double> best{std::numeric_limits<double>::infinity(), 0};
    for (std::uint32_t step = 0; step < 2 * steps; ++step) {
      double inside = 0;
      const double taken = once([&] {
        const auto done = need(trainer.forward_backward(1, batch, loss_fn::cross_entropy, {}));
        inside = number_of(done.metrics, "product_seconds:max") +
                 number_of(done.metrics, "attention_seconds:max");
      });
      if (taken < best.first) best = {taken, 1 - inside / taken};
    }
    return best;
  }

  [[nodiscard]] double one_shot() const { return one_shot_parts().first; }

  void one_shot_pass() const {
    (void)need(trainer.forward_backward(2, batch, loss_fn::cross_entropy, {}));
  }

  void two_phase_pass() const {
    const auto forward = need(trainer.forward(1, batch, retention::keep_for_backward));
    std::vector<std::vector<float>> gradients;
    for (const auto& part : forward.logprobs)
      gradients.emplace_back(part.size(), -1.0F);
    (void)need(trainer.backward(1, gradients));
  }

  void double_pass() const {
    (void)need(trainer.forward(1, batch, retention::discard));
    one_shot_pass();
  }

  /// The best step of each kind, which take turns: what slows the machine for a while slows all.
  void measure_phases(json::object& out) const {
    const std::array<std::pair<const char*, std::function<void()>>, 3> kinds{
        {{"one_shot_seconds", [this] { one_shot_pass(); }},
         {"two_phase_seconds", [this] { two_phase_pass(); }},
         {"double_pass_seconds", [this] { double_pass(); }}}};
    for (std::uint32_t step = 0; step < steps; ++step)
      for (const auto& [name, pass] : kinds) {
        const double taken = once(pass);
        const bool is_better = !out.contains(name) || taken < out[name].to_number<double>();
        if (is_better) out[name] = taken;
      }
  }
};

json::object measure(const workload& w, const options& o) {
  const double idle_bytes = peak_bytes();
  gpu::engine_options engine;
  engine.num_threads = o.threads;
  auto engines = need(gpu::make_engine_factory(engine));
  const model_config model = model_of(w);
  auto memory = std::make_unique<test::model_memory>(model);
  test::fill_randomly(*memory, model, 1);
  const auto batch = test::random_batch(model, w.lengths, 1);
  // The copies of weights that only the bench holds are not the engine's.
  const double prepared_bytes = peak_bytes();
  auto trainer = need(engines->make_trainer(model, std::move(gpu::make_thread_comms(1).front())));
  need(trainer->load(*memory, optimizer_state::reset, 0));
  const bench full{*trainer, batch, o.steps};
  json::object out;
  const auto [one_shot_seconds, outside] = full.one_shot_parts();
  out["one_shot_seconds"] = one_shot_seconds;
  out["outside_products_share"] = outside;
  out["outside_products_goal"] = 0.15;
  out["working_bytes"] = peak_bytes() - prepared_bytes;
  out["held_by_bench_bytes"] = prepared_bytes - idle_bytes;
  full.measure_phases(out);
  trainer.reset();

  const lora_config lora{.rank = 16, .train_unembed = false};
  auto adapters = need(
      engines->make_adapter_trainer({model}, lora, std::move(gpu::make_thread_comms(1).front())));
  need(adapters->load_frozen(*memory));
  gpu::initial_adapters first(model, lora);
  need(adapters->load(first, optimizer_state::reset, 0));
  out["adapters_seconds"] = bench{*adapters, batch, o.steps}.one_shot();
  adapters.reset();

  engine.compute = gpu::compute_type::bf16;
  auto bf16_engines = gpu::make_engine_factory(engine);
  if (!bf16_engines) return out;
  auto rounded =
      need((*bf16_engines)->make_trainer(model, std::move(gpu::make_thread_comms(1).front())));
  need(rounded->load(*memory, optimizer_state::reset, 0));
  out["bf16_seconds"] = bench{*rounded, batch, o.steps}.one_shot();
  return out;
}

json::object two_ranks(const workload& w, const options& o) {
  const auto seconds = troupe::bench::measure_ranks(model_of(w), w.lengths, o.steps);
  return {{"ahead_seconds", seconds.ahead},
          {"on_demand_seconds", seconds.on_demand},
          {"ahead_exchange_seconds", seconds.exchanges_ahead},
          {"on_demand_exchange_seconds", seconds.exchanges_on_demand}};
}

json::object output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  if (!pipe) give_up("cannot run " + command);
  std::string text;
  std::array<char, 4096> piece{};
  while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), pipe.get()))
    text.append(piece.data(), count);
  json::error_code problem;
  const json::value value = json::parse(text, problem);
  if (problem || !value.is_object()) give_up(command + " printed no numbers");
  return value.get_object();
}

std::string quoted(const std::string& text) {
  return "'" + text + "'";
}

json::object run_baseline(const workload& w, const options& o) {
  std::string lengths;
  for (const std::size_t length : w.lengths)
    lengths += (lengths.empty() ? "" : ",") + std::to_string(length);
  return output_of(quoted(o.python) + " " + quoted(TROUPE_BENCH_FOLDER "/engine_baseline.py") +
                   " --lengths " + lengths + " --threads " + std::to_string(o.threads) +
                   " --steps " + std::to_string(o.steps) + " --hidden " + std::to_string(w.hidden) +
                   " --layers " + std::to_string(w.layers) + " --vocabulary " +
                   std::to_string(w.vocabulary) + " 2>/dev/null");
}

double number(const json::object& from, const char* name) {
  return from.at(name).to_number<double>();
}

/// Takes over what was quicker this time, and the least memory: what other work takes from a round,
/// it takes from neighbours alike.
void keep_best(json::object& best, const json::object& now) {
  for (const auto& [name, value] : now) {
    if (!best.contains(name)) {
      best[name] = value;
    } else if (value.is_number() && value.to_number<double>() < best[name].to_number<double>()) {
      best[name] = value;
    }
  }
}

json::object compare(const std::string& self, const workload& w, const options& o) {
  const std::string again = quoted(self) + " --workload " + quoted(w.name) + " --threads " +
                            std::to_string(o.threads) + " --steps " + std::to_string(o.steps);
  json::object row;
  json::object base;
  json::object ranks;
  for (std::uint32_t round = 0; round < o.rounds; ++round) {
    keep_best(row, output_of(again));
    keep_best(ranks, output_of(again + " --part ranks"));
    if (!o.python.empty()) keep_best(base, run_baseline(w, o));
  }
  const double one_shot = number(row, "one_shot_seconds");
  const auto tokens =
      static_cast<double>(std::accumulate(w.lengths.begin(), w.lengths.end(), std::size_t{0}));
  row["workload"] = w.name;
  row["tokens_per_second"] = tokens / one_shot;
  row["two_phase_over_one_shot"] = number(row, "two_phase_seconds") / one_shot;
  row["double_pass_over_two_phase"] =
      number(row, "double_pass_seconds") / number(row, "two_phase_seconds");
  row["full_over_adapters"] = one_shot / number(row, "adapters_seconds");
  row["two_ranks"] = ranks;
  row["gathered_ahead_ratio"] = number(ranks, "on_demand_seconds") / number(ranks, "ahead_seconds");
  if (o.python.empty()) return row;
  const double best = std::min(number(base, "sdpa_seconds"), number(base, "eager_seconds"));
  row["baseline_seconds"] = best;
  row["ratio"] = best / one_shot;
  if (row.contains("bf16_seconds")) {
    const double bf16 = number(row, "bf16_seconds");
    row["bf16_ratio"] = best / bf16;
    row["bf16_ratio_to_autocast"] = number(base, "autocast_seconds") / bf16;
  }
  row["memory_over_baseline"] = number(row, "working_bytes") / number(base, "working_bytes");
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  const options o = read_options(argc, argv);
  const std::vector<workload> workloads = all_workloads();
  if (!o.workload_name.empty()) {
    const auto found = std::ranges::find(workloads, o.workload_name, &workload::name);
    if (found == workloads.end()) give_up("no workload '" + o.workload_name + "'");
    const json::object out = o.part == "ranks" ? two_ranks(*found, o) : measure(*found, o);
    std::printf("%s\n", json::serialize(out).c_str());
    return 0;
  }
  json::array rows;
  double product = 1;
  std::size_t compared = 0;
  for (const workload& w : workloads) {
    rows.push_back(compare(argv[0], w, o));
    const json::object& row = rows.back().get_object();
    // Workloads take minutes on a busy machine; what is measured is not lost with the rest.
    std::fprintf(stderr, "%s\n", json::serialize(row).c_str());
    if (!row.contains("ratio") || w.name.ends_with("mixed")) continue;
    product *= number(row, "ratio");
    ++compared;
  }
  json::object report{{"name", "engine"}, {"threads", o.threads}, {"rows", rows}};
  if (compared > 0) report["ratio"] = std::pow(product, 1.0 / static_cast<double>(compared));
  std::printf("%s\n", json::serialize(report).c_str());
  return 0;
}
