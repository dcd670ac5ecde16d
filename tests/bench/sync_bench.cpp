// What a weight sync does to a replica that decodes: how long a commit stands between two tokens,
// how tokens come while the next weights are prepared, and how soon the first token of the new
// version is there. Deltas of a model of about 100 M parameters at 1 % changed elements, from blobs
// in memory. The baseline, in the same run, loads all weights between two tokens. Then, what a late
// replica reads: a base with 32 deltas, folded and not, against the base and the fold alone.
//
// Usage: sync_bench [--syncs N] [--sequences N] [--hidden N] [--layers N] [--vocabulary N]
//                   [--threads N] [--changed-ppm N]. Prints one JSON object.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <map>
#include <random>
#include <string>
#include <utility>

#include <boost/json.hpp>

#include "actors/engine_io/replica_weights.hpp"
#include "config/limits.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"
#include "storage/chain_fold.hpp"
#include "storage/open_store.hpp"
#include "tests/bench/timing.hpp"
#include "tests/support/scratch_folder.hpp"

namespace {

using namespace troupe;
using bench::ms_since;
using clock_type = bench::steady;
using options = std::map<std::string, std::uint32_t>;
using all_bits = std::vector<std::vector<std::uint16_t>>;

[[noreturn]] void give_up(const error& e) {
  std::fprintf(stderr, "%s\n", to_string(e).c_str());
  std::exit(1);
}

template <class T>
T required(result<T> value) {
  if (!value) give_up(value.error());
  if constexpr (!std::is_void_v<T>) return std::move(*value);
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double last = static_cast<double>(values.size() - 1);
  return values[static_cast<std::size_t>(last * share + 0.5)];
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
  m.max_positions = 65'536;
  m.tied_head = true;
  return m;
}

class random_weights final : public storage::tensor_reader {
 public:
  result<void> read(std::uint32_t, std::uint64_t, std::span<float> out) override {
    for (float& value : out)
      value = weights_(random_);
    return {};
  }

 private:
  std::mt19937 random_{1};
  std::normal_distribution<float> weights_{0.0F, 0.02F};
};

/// Holds what the trainer would: the published bits, and deltas as blobs.
class publisher final : public gpu::bf16_source {
 public:
  publisher(actors::opened_model& model, storage::blob_store& blobs) : blobs_(blobs) {
    actors::hf_source source(model);
    for (std::uint32_t p = 0; p < model.layout.size(); ++p) {
      const gpu::parameter_slice slice{p, 0, model.layout[p].num_elements()};
      std::vector<float> values(slice.num_elements());
      required(source.read(gpu::state_part::weights, slice, values));
      std::vector<std::uint16_t> bits;
      for (const float value : values)
        bits.push_back(actors::to_bf16(value));
      add_elements(digest_, p, 0, std::span<const std::uint16_t>(bits));
      bits_.push_back(std::move(bits));
    }
  }

  /// A delta of neighbouring values at `changed_ppm` millionths of the elements.
  checkpoint_record next(std::uint64_t version, std::uint32_t changed_ppm) {
    const all_bits before = bits_;
    std::uniform_int_distribution<std::uint32_t> chance(0, 999'999);
    std::vector<storage::slice_change> changes;
    checkpoint_record record{checkpoint_id{std::to_string(version)}, {}};
    record.manifest.kind = checkpoint_kind::sampler_delta;
    record.manifest.parent_state = digest_;
    digest_ = {};
    for (std::uint32_t p = 0; p < bits_.size(); ++p) {
      for (std::uint16_t& bits : bits_[p])
        if (chance(random_) < changed_ppm) bits = static_cast<std::uint16_t>(bits ^ 1U);
      add_elements(digest_, p, 0, std::span<const std::uint16_t>(bits_[p]));
      changes.push_back({p, 0, before[p], bits_[p]});
    }
    record.manifest.state = digest_;
    const auto encoded = required(storage::encode_delta(changes));
    changed_ = encoded.stats.num_changed;
    auto writer = required(blobs_.create());
    required(writer->append(encoded.file));
    const auto blob = required(writer->commit());
    record.manifest.files.push_back({blob.blob, blob.bytes, 0});
    return record;
  }

  result<void> read(const gpu::parameter_slice& slice, std::span<std::uint16_t> out) override {
    std::copy_n(bits_[slice.parameter].begin() + static_cast<std::ptrdiff_t>(slice.begin),
                out.size(), out.begin());
    return {};
  }

  [[nodiscard]] std::uint64_t num_changed() const { return changed_; }

  /// All weights as a checkpoint.
  checkpoint_record base() {
    std::vector<storage::slice_entry> entries;
    for (std::uint32_t p = 0; p < bits_.size(); ++p)
      entries.push_back({storage::slice_part::weights, p, 0, bits_[p].size()});
    auto writer = required(storage::slice_writer::create(blobs_, dtype::bf16, entries));
    for (const auto& bits : bits_)
      required(writer.append(std::span<const std::uint16_t>(bits)));
    const auto blob = required(writer.commit());
    checkpoint_record record{checkpoint_id{"base"}, {}};
    record.manifest.kind = checkpoint_kind::sampler_base;
    record.manifest.state = digest_;
    record.manifest.files = {{blob.blob, blob.bytes, 0}};
    return record;
  }

  [[nodiscard]] std::vector<gpu::parameter_slice> slices() const {
    std::vector<gpu::parameter_slice> out;
    for (std::uint32_t p = 0; p < bits_.size(); ++p)
      out.push_back({p, 0, bits_[p].size()});
    return out;
  }

 private:
  storage::blob_store& blobs_;
  all_bits bits_;
  state_digest digest_;
  std::uint64_t changed_ = 0;
  std::mt19937 random_{2};
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
      : weights_(engines, blobs), engine_(required(weights_.open(source))) {}

  void start(std::uint32_t sequences) {
    for (std::uint32_t i = 0; i < sequences; ++i) {
      gpu::sequence_start start;
      start.sequence = i;
      start.prompt = {static_cast<token_id>(i + 1), 2, 3};
      start.params.max_tokens = 16'384;
      start.params.seed = i;
      required(engine_->admit(std::move(start)));
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
    const auto staged = required(staging.get());
    const auto middle = clock_type::now();
    required(engine_->commit(*staged->weights, gpu::cache_policy::keep));
    out.commit_ms.push_back(ms_since(middle));
    step();
    out.first_token_ms.push_back(ms_since(begin));
    weights_.adopt(*staged);
  }

  void load_all(gpu::bf16_source& source) {
    const auto begin = clock_type::now();
    required(engine_->load(source));
    out.load_ms.push_back(ms_since(begin));
  }

  measured out;

 private:
  double step() {
    const auto begin = clock_type::now();
    required(engine_->step());
    return ms_since(begin);
  }

  actors::replica_weights weights_;
  std::shared_ptr<gpu::sampler_engine> engine_;
};

/// Milliseconds to bring nothing to the last state of `chain`, the best of a few.
double load_ms(storage::blob_store& blobs, const publisher& from,
               const std::vector<checkpoint_record>& chain) {
  double best = 1e18;
  for (int i = 0; i < 3; ++i) {
    actors::bf16_state state(from.slices());
    const auto begin = clock_type::now();
    required(actors::load_chain(blobs, chain, state));
    best = std::min(best, ms_since(begin));
  }
  return best;
}

/// Catch-up along 32 deltas, against reading the base and then what a fold holds.
boost::json::object catch_up(publisher& from, storage::blob_store& blobs, std::uint32_t ppm) {
  std::vector<checkpoint_record> chain{from.base()};
  checkpoint_record fold;
  checkpoint_record fold_before;
  double fold_ms = 0;
  for (std::uint32_t depth = 1; depth <= limits::delta_depth_max; ++depth) {
    chain.push_back(from.next(depth, ppm));
    if (depth % limits::fold_every_deltas != 0) continue;
    const auto begin = clock_type::now();
    fold_before =
        std::exchange(fold, {checkpoint_id{"fold"}, required(storage::fold_chain(blobs, chain))});
    fold_ms = ms_since(begin);
  }
  std::vector<checkpoint_record> longest{chain.front(), fold_before};
  longest.insert(longest.end(), chain.end() - limits::fold_every_deltas, chain.end() - 1);
  const double base = load_ms(blobs, from, {chain.front()});
  const double folded = load_ms(blobs, from, {chain.front(), fold});
  double fold_read = 1e18;
  for (int i = 0; i < 3; ++i) {
    actors::bf16_state state(from.slices());
    required(actors::load_chain(blobs, {chain.front()}, state));
    const auto begin = clock_type::now();
    const auto chunks = required(actors::decode_checkpoint(blobs, fold.manifest, state));
    state.apply(chunks, required(state.digest_with(chunks)));
    fold_read = std::min(fold_read, ms_since(begin));
  }
  std::uint64_t delta_bytes = 0;
  for (std::size_t i = 1; i < chain.size(); ++i)
    delta_bytes += total_bytes(chain[i].manifest);
  return {{"deltas", limits::delta_depth_max},
          {"base_load_ms", base},
          {"folded_read_ms", fold_read},
          {"folded_chain_ms", folded},
          {"longest_tail_chain_ms", load_ms(blobs, from, longest)},
          {"whole_chain_ms", load_ms(blobs, from, chain)},
          {"folding_ms", fold_ms},
          {"delta_bytes", delta_bytes},
          {"fold_bytes", total_bytes(fold.manifest)},
          {"ratio", folded / (base + fold_read)},
          {"longest_tail_ratio", load_ms(blobs, from, longest) / (base + fold_read)}};
}

boost::json::object summary(const measured& m, publisher& trainer_side, std::uint64_t parameters) {
  const double p99 = percentile(m.commit_ms, 0.99);
  const double load = percentile(m.load_ms, 0.5);
  return {{"parameters", parameters},
          {"changed_share",
           static_cast<double>(trainer_side.num_changed()) / static_cast<double>(parameters)},
          {"syncs", m.commit_ms.size()},
          {"pause_ms_p50", percentile(m.commit_ms, 0.5)},
          {"pause_ms_p99", p99},
          {"token_ms_p50", percentile(m.quiet_token_ms, 0.5)},
          {"token_ms_p50_while_staging", percentile(m.staging_token_ms, 0.5)},
          {"first_token_ms_p50", percentile(m.first_token_ms, 0.5)},
          {"load_between_tokens_ms", load},
          {"ratio", load / p99},
          {"goals", boost::json::object{{"pause_ms_p99", 15}, {"catch_up.ratio", 1.3}}}};
}

}  // namespace

int main(int argc, char** argv) {
  options o{{"syncs", 30},  {"sequences", 4},      {"hidden", 768},        {"layers", 12},
            {"threads", 2}, {"vocabulary", 16384}, {"changed-ppm", 10'000}};
  for (int i = 1; i + 1 < argc; i += 2)
    o[std::string(argv[i]).substr(2)] =
        static_cast<std::uint32_t>(std::strtoul(argv[i + 1], nullptr, 10));
  const tests::scratch_folder folder;
  storage::hf_export target;
  target.directory = folder.path() + "/model";
  target.config = model_of(o);
  const auto layout = gpu::parameter_layout(target.config);
  random_weights values;
  required(storage::write_hf_directory(target, layout, values));
  gpu::engine_options engine;
  engine.num_threads = o["threads"];
  const auto engines = required(gpu::make_engine_factory(engine));
  const auto blobs = storage::make_memory_blob_store();
  const model_source source{target.directory};
  auto model = required(actors::open_model(source));
  publisher trainer_side(model, *blobs);
  replica served(*engines, *blobs, source);
  served.start(o["sequences"]);
  for (std::uint64_t version = 1; version <= o["syncs"]; ++version)
    served.sync(trainer_side.next(version, o["changed-ppm"]), version);
  std::uint64_t parameters = 0;
  for (const auto& spec : layout)
    parameters += spec.num_elements();
  for (int i = 0; i < 3; ++i)
    served.load_all(trainer_side);
  auto numbers = summary(served.out, trainer_side, parameters);
  numbers["catch_up"] = catch_up(trainer_side, *blobs, o["changed-ppm"]);
  std::printf("%s\n", boost::json::serialize(numbers).c_str());
  return 0;
}
