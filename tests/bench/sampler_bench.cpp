// Decoding speed: one sequence, eight, eight samples of each of eight prompts, and answers of 16 to
// 512 tokens that come and go. One JSON object; beside each rate that of sampler_baseline.py, run
// on the same machine right after it, the ratio of both and its goal.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "gpu/make_engine.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace {

using namespace troupe;
using bench::give_up;

struct options {
  std::map<std::string, std::uint32_t> numbers{{"threads", 2},  {"hidden", 512},
                                               {"layers", 8},   {"vocabulary", 8192},
                                               {"prompt", 128}, {"tokens", 64}};
  std::string python = TROUPE_BENCH_PYTHON;
};

/// Least ratio to the baseline.
const std::map<std::string, double> goals{
    {"batch_1", 1.5}, {"batch_8", 2.0}, {"batch_64", 4.0}, {"mixed", 3.0}};

model_config model_of(const options& o) {
  model_config m;
  m.vocab_size = o.numbers.at("vocabulary");
  m.hidden_size = o.numbers.at("hidden");
  m.intermediate_size = 3 * m.hidden_size;
  m.num_layers = o.numbers.at("layers");
  m.num_heads = std::max(1U, m.hidden_size / 64);
  m.num_kv_heads = std::max(1U, m.hidden_size / 128);
  m.head_dim = 64;
  m.max_positions = 4096;
  m.tied_head = true;
  return m;
}

class workload {
 public:
  workload(gpu::sampler_engine& sampler, gpu::bf16_source& weights, std::uint32_t vocabulary)
      : sampler_(sampler), weights_(weights), vocabulary_(vocabulary) {}

  /// Greedy, like the baseline.
  void add(std::vector<token_id> prompt, std::uint32_t max_tokens) {
    gpu::sequence_start start;
    start.sequence = starts_.size();
    start.prompt = std::move(prompt);
    start.params.max_tokens = max_tokens;
    start.params.temperature = 0;
    starts_.push_back(std::move(start));
  }

  std::vector<token_id> prompt(std::uint32_t length) {
    std::vector<token_id> tokens;
    for (std::uint32_t i = 0; i < length; ++i)
      tokens.push_back(static_cast<token_id>(random_() % vocabulary_));
    return tokens;
  }

  std::uint32_t answer_length() { return 16 + static_cast<std::uint32_t>(random_() % 497); }

  /// Tokens per second, prompts included in the time; best of two runs with cold caches.
  double run(std::size_t active_max) {
    double best = 0;
    for (int i = 0; i < 2; ++i) {
      if (auto ok = sampler_.load(weights_); !ok) give_up(to_string(ok.error()));
      best = std::max(best, run_once(active_max));
    }
    return best;
  }

 private:
  double run_once(std::size_t active_max) {
    const auto begin = std::chrono::steady_clock::now();
    std::size_t next = 0;
    std::size_t tokens = 0;
    while (next < starts_.size() || sampler_.num_active() > 0) {
      for (; next < starts_.size() && sampler_.num_active() < active_max; ++next)
        if (auto ok = sampler_.admit(starts_[next]); !ok) give_up(to_string(ok.error()));
      const auto step = sampler_.step();
      if (!step) give_up(to_string(step.error()));
      tokens += step->size();
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    return static_cast<double>(tokens) / taken.count();
  }

  gpu::sampler_engine& sampler_;
  gpu::bf16_source& weights_;
  std::uint32_t vocabulary_;
  std::mt19937 random_{3};
  std::vector<gpu::sequence_start> starts_;
};

std::map<std::string, double> measure(const options& o) {
  const model_config model = model_of(o);
  gpu::engine_options engine;
  engine.num_threads = o.numbers.at("threads");
  auto engines = gpu::make_engine_factory(engine);
  if (!engines) give_up(to_string(engines.error()));
  test::model_memory memory(model);
  test::fill_randomly(memory, model, 1);
  auto sampler = (*engines)->make_sampler(model);
  if (!sampler) give_up(to_string(sampler.error()));
  const auto new_load = [&] { return workload(**sampler, memory, model.vocab_size); };
  std::map<std::string, double> rates;
  const auto batch = [&](const std::string& name, std::uint32_t prompts, std::uint32_t samples) {
    workload load = new_load();
    for (std::uint32_t p = 0; p < prompts; ++p) {
      const auto prompt = load.prompt(o.numbers.at("prompt"));
      for (std::uint32_t i = 0; i < samples; ++i)
        load.add(prompt, o.numbers.at("tokens"));
    }
    rates[name] = load.run(std::size_t{prompts} * samples);
  };
  batch("batch_1", 1, 1);
  batch("batch_8", 8, 1);
  batch("batch_64", 8, 8);
  workload mixed = new_load();
  for (int i = 0; i < 32; ++i) {
    auto prompt = mixed.prompt(32);
    mixed.add(std::move(prompt), mixed.answer_length());
  }
  rates["mixed"] = mixed.run(32);
  return rates;
}

/// Output of the baseline program, given the same numbers.
boost::json::object run_baseline(const options& o) {
  std::string command = o.python + " " TROUPE_BENCH_FOLDER "/sampler_baseline.py";
  for (const auto& [name, value] : o.numbers)
    command += " --" + name + " " + std::to_string(value);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) give_up("the baseline cannot be started");
  std::string text;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), part.size(), pipe.get()) != nullptr)
    text += part.data();
  boost::system::error_code problem;
  auto value = boost::json::parse(text, problem);
  if (problem || !value.is_object()) give_up("the baseline failed");
  return value.as_object();
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app("How fast a sampler decodes, beside transformers' generate.");
  app.add_option("--baseline", o.python, "Python with transformers; empty: no baseline");
  for (auto& [name, number] : o.numbers)
    app.add_option("--" + name, number, "of the model and its work")->capture_default_str();
  bool as_json = true;
  app.add_flag("--json", as_json, "what it prints anyway");
  CLI11_PARSE(app, argc, argv);
  boost::json::object out;
  for (const auto& [name, rate] : measure(o))
    out[name] = boost::json::object{{"tokens_per_second", rate}};
  if (!o.python.empty()) {
    const boost::json::object baseline = run_baseline(o);
    for (auto& [name, value] : out) {
      auto& entry = value.as_object();
      const double other = baseline.at(name).to_number<double>();
      entry["transformers"] = other;
      entry["ratio"] = entry.at("tokens_per_second").to_number<double>() / other;
      entry["goal"] = goals.at(name);
    }
  }
  std::printf("%s\n", boost::json::serialize(out).c_str());
  return 0;
}
