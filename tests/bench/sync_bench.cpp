// What a weight sync does to a replica that decodes: how long a commit stands between two tokens,
// how tokens come while the next weights are prepared, and how soon the first token of the new
// version is there. Deltas of a model of about 100 M parameters at 1 % changed elements, from blobs
// in memory. The baseline, in the same run, loads all weights between two tokens. Then, what a late
// replica reads: a base with 32 deltas, folded and not, against the base and the fold alone.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <future>
#include <random>
#include <string>
#include <utility>

#include <boost/json.hpp>

#include "actors/engine_io/replica_weights.hpp"
#include "config/limits.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/chain_fold.hpp"
#include "storage/open_store.hpp"
#include "tests/bench/command_line.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/timing.hpp"
#include "tests/support/random_tensors.hpp"
#include "tests/support/scratch_folder.hpp"
#include "tests/support/weight_publisher.hpp"

namespace {

using namespace troupe;
using bench::ms_since;
using bench::need;
using bench::quantile;
using clock_type = bench::steady;

model_config model_of(const bench::choices& o) {
  model_config m;
  m.vocab_size = o.at("vocabulary");
  m.hidden_size = o.at("hidden");
  m.intermediate_size = 3 * o.at("hidden");
  m.num_layers = o.at("layers");
  m.num_heads = std::max(1U, o.at("hidden") / 64);
  m.num_kv_heads = std::max(1U, o.at("hidden") / 128);
  m.head_dim = 64;
  m.max_positions = 65'536;
  m.tied_head = true;
  return m;
}

/// Steps to a neighbouring value at `ppm` millionths of the elements.
class training_steps {
 public:
  explicit training_steps(std::uint32_t ppm) : ppm_(ppm) {}

  void operator()(std::vector<std::uint16_t>& parameter) {
    for (std::uint16_t& bits : parameter)
      if (chance_(random_) < ppm_) bits = static_cast<std::uint16_t>(bits ^ 1U);
  }

 private:
  std::uint32_t ppm_;
  std::mt19937 random_{2};
  std::uniform_int_distribution<std::uint32_t> chance_{0, 999'999};
};

struct measured {
  std::vector<double> quiet_token_ms;    ///< nothing else under way
  std::vector<double> staging_token_ms;  ///< beside a stage
  std::vector<double> commit_ms;
  std::vector<double> first_token_ms;  ///< from the beginning of the stage
  std::vector<double> load_ms;         ///< baseline
};

class replica {
 public:
  replica(gpu::engine_factory& engines, storage::blob_store& blobs, const model_source& source)
      : weights_(engines, blobs), engine_(need(weights_.open(source))) {}

  void start(std::uint32_t sequences) {
    for (std::uint32_t i = 0; i < sequences; ++i) {
      gpu::sequence_start start;
      start.sequence = i;
      start.prompt = {static_cast<token_id>(i + 1), 2, 3};
      start.params.max_tokens = 16'384;
      start.params.seed = i;
      need(engine_->admit(std::move(start)));
    }
    for (int i = 0; i < 20; ++i)
      out.quiet_token_ms.push_back(step());
  }

  void sync(const checkpoint_record& record, std::uint64_t version) {
    const auto begin = clock_type::now();
    auto staging = std::async(std::launch::async, [&] {
      return weights_.stage(stage_weights_request{version, {record}});
    });
    while (staging.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
      out.staging_token_ms.push_back(step());
    const auto staged = need(staging.get());
    const auto middle = clock_type::now();
    need(engine_->commit(*staged->weights, gpu::cache_policy::keep));
    out.commit_ms.push_back(ms_since(middle));
    step();
    out.first_token_ms.push_back(ms_since(begin));
    weights_.adopt(*staged);
  }

  void load_all(gpu::bf16_source& source) {
    const auto begin = clock_type::now();
    need(engine_->load(source));
    out.load_ms.push_back(ms_since(begin));
  }

  measured out;

 private:
  double step() {
    const auto begin = clock_type::now();
    need(engine_->step());
    return ms_since(begin);
  }

  actors::replica_weights weights_;
  std::shared_ptr<gpu::sampler_engine> engine_;
};

/// Milliseconds to bring nothing to the last state of `chain`, the best of a few.
double load_ms(storage::blob_store& blobs, const tests::weight_publisher& from,
               const std::vector<checkpoint_record>& chain) {
  double best = 1e18;
  for (int i = 0; i < 3; ++i) {
    actors::bf16_state state(from.slices());
    const auto begin = clock_type::now();
    need(actors::load_chain(blobs, chain, state));
    best = std::min(best, ms_since(begin));
  }
  return best;
}

/// Catch-up along 32 deltas, against reading the base and then what a fold holds.
boost::json::object catch_up(tests::weight_publisher& from, storage::blob_store& blobs,
                             training_steps& steps) {
  std::vector<checkpoint_record> chain{from.base()};
  checkpoint_record fold;
  checkpoint_record fold_before;
  double fold_ms = 0;
  for (std::uint32_t depth = 1; depth <= limits::delta_depth_max; ++depth) {
    chain.push_back(from.delta(std::ref(steps)));
    if (depth % limits::fold_every_deltas != 0) continue;
    const auto begin = clock_type::now();
    fold_before =
        std::exchange(fold, {checkpoint_id{"fold"}, need(storage::fold_chain(blobs, chain))});
    fold_ms = ms_since(begin);
  }
  std::vector<checkpoint_record> longest{chain.front(), fold_before};
  longest.insert(longest.end(), chain.end() - limits::fold_every_deltas, chain.end() - 1);
  const double base = load_ms(blobs, from, {chain.front()});
  const double folded = load_ms(blobs, from, {chain.front(), fold});
  const double tail = load_ms(blobs, from, longest);
  double fold_read = 1e18;
  for (int i = 0; i < 3; ++i) {
    actors::bf16_state state(from.slices());
    need(actors::load_chain(blobs, {chain.front()}, state));
    storage::delta_walk walk(
        [&](std::uint32_t parameter, std::uint64_t first, std::uint64_t count) {
          return state.elements({parameter, first, first + count});
        });
    const auto begin = clock_type::now();
    for (const checkpoint_file& file : fold.manifest.files) {
      std::vector<std::byte> bytes(file.bytes);
      need(need(blobs.open(file.blob))->read(0, bytes));
      need(walk.apply(bytes));
    }
    fold_read = std::min(fold_read, ms_since(begin));
  }
  std::uint64_t delta_bytes = 0;
  for (std::size_t i = 1; i < chain.size(); ++i)
    delta_bytes += total_bytes(chain[i].manifest);
  return {{"deltas", limits::delta_depth_max},
          {"base_load_ms", base},
          {"folded_read_ms", fold_read},
          {"folded_chain_ms", folded},
          {"longest_tail_chain_ms", tail},
          {"whole_chain_ms", load_ms(blobs, from, chain)},
          {"folding_ms", fold_ms},
          {"delta_bytes", delta_bytes},
          {"fold_bytes", total_bytes(fold.manifest)},
          {"ratio", folded / (base + fold_read)},
          {"longest_tail_ratio", tail / (base + fold_read)}};
}

boost::json::object summary(const measured& m, const tests::weight_publisher& trainer_side,
                            std::uint64_t parameters) {
  const double p99 = quantile(m.commit_ms, 0.99);
  const double load = quantile(m.load_ms, 0.5);
  return {{"parameters", parameters},
          {"changed_share",
           static_cast<double>(trainer_side.num_changed()) / static_cast<double>(parameters)},
          {"syncs", m.commit_ms.size()},
          {"pause_ms_p50", quantile(m.commit_ms, 0.5)},
          {"pause_ms_p99", p99},
          {"token_ms_p50", quantile(m.quiet_token_ms, 0.5)},
          {"token_ms_p50_while_staging", quantile(m.staging_token_ms, 0.5)},
          {"first_token_ms_p50", quantile(m.first_token_ms, 0.5)},
          {"load_between_tokens_ms", load},
          {"ratio", load / p99},
          {"goals", boost::json::object{{"pause_ms_p99", 15},
                                        {"catch_up.ratio", 1.3},
                                        {"catch_up.longest_tail_ratio", 1.3}}}};
}

}  // namespace

int main(int argc, char** argv) {
  bench::choices o{{"syncs", 60},  {"sequences", 4},      {"hidden", 768},        {"layers", 12},
                   {"threads", 2}, {"vocabulary", 16384}, {"changed-ppm", 10'000}};
  bench::command_line words("What a weight sync does to a replica that decodes.");
  words.add(o, "of the model and its work");
  words.parse(argc, argv);
  const tests::scratch_folder folder;
  storage::hf_export target;
  target.directory = folder.path() + "/model";
  target.config = model_of(o);
  const auto layout = gpu::parameter_layout(target.config);
  tests::random_tensors values(1, 0.02F);
  need(storage::write_hf_directory(target, layout, values));
  gpu::engine_options engine;
  engine.num_threads = o.at("threads");
  const auto engines = need(gpu::make_engine_factory(engine));
  const auto blobs = storage::make_memory_blob_store();
  const model_source source{target.directory};
  auto model = need(actors::open_model(source));
  tests::weight_publisher trainer_side(model, *blobs);
  training_steps steps(o.at("changed-ppm"));
  replica served(*engines, *blobs, source);
  served.start(o.at("sequences"));
  for (std::uint64_t version = 1; version <= o.at("syncs"); ++version)
    served.sync(trainer_side.delta(std::ref(steps)), version);
  std::uint64_t parameters = 0;
  for (const auto& spec : layout)
    parameters += spec.num_elements();
  for (int i = 0; i < 3; ++i)
    served.load_all(trainer_side);
  auto numbers = summary(served.out, trainer_side, parameters);
  numbers["catch_up"] = catch_up(trainer_side, *blobs, steps);
  std::printf("%s\n", boost::json::serialize(numbers).c_str());
  return 0;
}
