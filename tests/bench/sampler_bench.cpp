// Decoding speed: one sequence, eight, eight samples of each of eight prompts, answers of 16 to 512
// tokens that come and go, and adapters of different ranks in one batch. One JSON object; beside
// each rate that of sampler_baseline.py, run on the same machine right after it, their ratio and
// its goal.
//
// Both load one Hugging Face directory and the same PEFT folders, get the same prompts and decode
// greedily, so the share of equal tokens says whether both did the same work.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>

#include <boost/json.hpp>

#include "gpu/make_engine.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "storage/peft_directory.hpp"
#include "tests/bench/command_line.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/memory_reader.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/support/scratch_folder.hpp"

namespace {

using namespace troupe;
using bench::give_up;
using bench::need;
namespace json = boost::json;

/// Least ratio to the baseline.
const std::map<std::string, double> goals{
    {"batch_1", 1.5}, {"batch_8", 2.0}, {"batch_64", 4.0}, {"mixed", 3.0}};

/// Of the adapters, in turns over the sequences.
constexpr std::array<std::uint32_t, 4> ranks{4, 8, 16, 32};

model_config model_of(const bench::choices& o) {
  model_config m;
  m.vocab_size = o.at("vocabulary");
  m.hidden_size = o.at("hidden");
  m.intermediate_size = 3 * m.hidden_size;
  m.num_layers = o.at("layers");
  m.num_heads = std::max(1U, m.hidden_size / 64);
  m.num_kv_heads = std::max(1U, m.hidden_size / 128);
  m.head_dim = 64;
  m.max_positions = 4096;
  m.tied_head = true;
  return m;
}

/// One question; adapters count from 0, -1 is none.
struct question {
  std::vector<token_id> prompt;
  std::uint32_t max_tokens = 0;
  int adapter = -1;
};

struct workload {
  std::string name;
  std::vector<question> questions;
  std::size_t baseline_batch = 0;  ///< how many of them transformers gets at once
};

class workload_maker {
 public:
  explicit workload_maker(const bench::choices& o)
      : vocabulary_(o.at("vocabulary")), prompt_(o.at("prompt")), tokens_(o.at("tokens")) {}

  std::vector<workload> all() {
    std::vector<workload> out{repeated("batch_1", 1, 1),
                              repeated("batch_8", 8, 1),
                              repeated("batch_64", 8, 8),
                              {"mixed", {}, 8}};
    for (int i = 0; i < 32; ++i)
      out.back().questions.push_back(
          {prompt(32), 16 + static_cast<std::uint32_t>(random_() % 497), -1});
    out.push_back(repeated("adapters", 8, 1));
    for (std::size_t i = 0; i < out.back().questions.size(); ++i)
      out.back().questions[i].adapter = static_cast<int>(i % ranks.size());
    return out;
  }

 private:
  workload repeated(const std::string& name, std::size_t prompts, std::size_t samples) {
    workload out{name, {}, prompts * samples};
    for (std::size_t p = 0; p < prompts; ++p) {
      const question one{prompt(prompt_), tokens_, -1};
      out.questions.insert(out.questions.end(), samples, one);
    }
    return out;
  }

  std::vector<token_id> prompt(std::uint32_t length) {
    std::vector<token_id> tokens(length);
    std::generate(tokens.begin(), tokens.end(),
                  [this] { return static_cast<token_id>(random_() % vocabulary_); });
    return tokens;
  }

  std::uint32_t vocabulary_;
  std::uint32_t prompt_;
  std::uint32_t tokens_;
  std::mt19937 random_{3};
};

/// A model with its adapters, in memory and as directories that transformers and peft load.
struct served_model {
  served_model(const bench::choices& o, const std::string& folder)
      : config(model_of(o)), memory(config) {
    test::fill_randomly(memory, config, 1);
    // What a sampler holds is rounded; the directory has the same values.
    for (std::uint32_t p = 0; p < memory.parameters(gpu::state_part::weights).size(); ++p)
      memory.parameters(gpu::state_part::weights)[p] = memory.published(p);
    storage::hf_export target;
    target.directory = folder + "/model";
    target.config = config;
    bench::memory_reader weights(memory, 0);
    need(storage::write_hf_directory(target, gpu::parameter_layout(config), weights));
    for (const std::uint32_t rank : ranks)
      add_adapter(rank, folder);
  }

  void add_adapter(std::uint32_t rank, const std::string& folder) {
    const lora_config lora{.rank = rank, .train_unembed = false};
    auto& values = adapters.emplace_back(config, lora);
    const auto first = static_cast<std::uint32_t>(gpu::parameter_layout(config).size());
    std::mt19937 random(rank);
    std::normal_distribution<float> normal(0.0F, 0.02F);
    auto& parameters = values.parameters(gpu::state_part::weights);
    for (std::size_t p = first; p < parameters.size(); ++p)
      std::generate(parameters[p].begin(), parameters[p].end(), [&] { return normal(random); });
    configs.push_back(lora);
    bench::memory_reader reader(values, first);
    need(storage::write_peft_directory(
        {folder + "/adapter" + std::to_string(configs.size() - 1), folder + "/model", lora},
        gpu::adapter_layout(config, lora), reader));
  }

  model_config config;
  test::model_memory memory;
  std::vector<lora_config> configs;
  std::vector<test::model_memory> adapters;
};

struct answer {
  double tokens_per_second = 0;
  std::vector<std::vector<token_id>> tokens;  ///< by question
};

class measured_sampler {
 public:
  measured_sampler(served_model& model, std::uint32_t threads) : model_(model) {
    gpu::engine_options engine;
    engine.num_threads = threads;
    engines_ = need(gpu::make_engine_factory(engine));
    sampler_ = need(engines_->make_sampler(model.config));
    for (std::size_t i = 0; i < model.adapters.size(); ++i)
      adapters_.push_back(need(sampler_->stage_adapter(model.configs[i], model.adapters[i])));
  }

  /// Prompts included in the time; best of two runs with cold caches.
  answer run(const workload& work) {
    answer best;
    for (int i = 0; i < 2; ++i) {
      need(sampler_->load(model_.memory));
      answer one = run_once(work);
      if (one.tokens_per_second > best.tokens_per_second) best = std::move(one);
    }
    return best;
  }

 private:
  void admit(const workload& work, std::size_t number) {
    const question& asked = work.questions[number];
    gpu::sequence_start start;
    start.sequence = number;
    start.prompt = asked.prompt;
    start.params.max_tokens = asked.max_tokens;
    start.params.temperature = 0;
    if (asked.adapter >= 0) start.adapter = adapters_[static_cast<std::size_t>(asked.adapter)];
    need(sampler_->admit(std::move(start)));
  }

  answer run_once(const workload& work) {
    answer out{0, std::vector<std::vector<token_id>>(work.questions.size())};
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < work.questions.size(); ++i)
      admit(work, i);
    std::size_t tokens = 0;
    while (sampler_->num_active() > 0) {
      for (const gpu::decoded_token& token : need(sampler_->step())) {
        out.tokens[token.sequence].push_back(token.chosen.token);
        ++tokens;
      }
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    out.tokens_per_second = static_cast<double>(tokens) / taken.count();
    return out;
  }

  served_model& model_;
  std::unique_ptr<gpu::engine_factory> engines_;
  std::unique_ptr<gpu::sampler_engine> sampler_;
  std::vector<std::shared_ptr<const gpu::sampler_adapter>> adapters_;
};

json::object to_json(const std::vector<workload>& all) {
  json::object out;
  for (const workload& work : all) {
    json::array questions;
    for (const question& asked : work.questions)
      questions.push_back(
          json::object{{"prompt", json::array(asked.prompt.begin(), asked.prompt.end())},
                       {"max_tokens", asked.max_tokens},
                       {"adapter", asked.adapter}});
    out[work.name] =
        json::object{{"questions", std::move(questions)}, {"batch", work.baseline_batch}};
  }
  return out;
}

/// Output of the baseline program on the same files.
json::object run_baseline(const std::string& python, const std::string& folder,
                          std::uint32_t threads) {
  const std::string command = "'" + python + "' '" TROUPE_BENCH_FOLDER "/sampler_baseline.py' '" +
                              folder + "' --threads " + std::to_string(threads);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) give_up("the baseline cannot be started");
  std::string text;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), part.size(), pipe.get()) != nullptr)
    text += part.data();
  boost::system::error_code problem;
  auto value = json::parse(text, problem);
  if (problem || !value.is_object()) give_up("the baseline failed");
  return value.as_object();
}

/// Of all tokens, those that both chose before they first differed: what follows a different
/// choice, which rounding makes where two tokens are equally likely, is another text.
double equal_share(const answer& ours, const json::array& theirs) {
  std::size_t equal = 0;
  std::size_t all = 0;
  for (std::size_t i = 0; i < ours.tokens.size(); ++i) {
    const json::array& other = theirs.at(i).as_array();
    all += ours.tokens[i].size();
    for (std::size_t t = 0; t < ours.tokens[i].size() && t < other.size(); ++t, ++equal)
      if (other[t].to_number<token_id>() != ours.tokens[i][t]) break;
  }
  return all == 0 ? 0 : static_cast<double>(equal) / static_cast<double>(all);
}

}  // namespace

int main(int argc, char** argv) {
  std::string python = TROUPE_BENCH_PYTHON;
  std::uint32_t threads = 2;
  bench::choices o{
      {"hidden", 512}, {"layers", 8}, {"vocabulary", 8192}, {"prompt", 128}, {"tokens", 64}};
  bench::command_line words("How fast a sampler decodes, beside transformers' generate.");
  words.add_baseline(python);
  words.add("threads", threads, "of the engine and of the baseline");
  words.add(o, "of the model and its work");
  std::string only;
  words.add_text("workload", only, "this one alone, of those whose rates are printed");
  words.parse(argc, argv);
  auto workloads = workload_maker(o).all();
  if (!only.empty()) std::erase_if(workloads, [&](const workload& w) { return w.name != only; });
  if (workloads.empty()) give_up("no workload '" + only + "'");
  const tests::scratch_folder folder;
  served_model model(o, folder.path());
  measured_sampler sampler(model, threads);
  std::ofstream(folder.path() + "/work.json") << json::serialize(to_json(workloads));
  std::map<std::string, answer> answers;
  for (const workload& work : workloads)
    answers[work.name] = sampler.run(work);
  const json::object baseline =
      python.empty() ? json::object{} : run_baseline(python, folder.path(), threads);
  json::object out;
  for (const auto& [name, ours] : answers) {
    json::object row{{"tokens_per_second", ours.tokens_per_second}};
    if (const auto* theirs = baseline.if_contains(name)) {
      const double rate = theirs->at("tokens_per_second").to_number<double>();
      row["transformers"] = rate;
      row["ratio"] = ours.tokens_per_second / rate;
      row["equal_tokens"] = equal_share(ours, theirs->at("tokens").as_array());
      if (const auto goal = goals.find(name); goal != goals.end()) row["goal"] = goal->second;
    }
    out[name] = std::move(row);
  }
  std::printf("%s\n", json::serialize(out).c_str());
  return 0;
}
