#include "actors/engine_io/replica_weights.hpp"

#include <utility>

namespace troupe::actors {

replica_weights::replica_weights(gpu::engine_factory& engines, storage::blob_store& blobs)
    : engines_(engines), blobs_(blobs) {}

result<std::shared_ptr<gpu::sampler_engine>> replica_weights::open(const model_source& source) {
  auto model = open_model(source);
  if (!model) return fail(model.error());
  std::vector<gpu::parameter_slice> slices;
  for (std::uint32_t i = 0; i < model->layout.size(); ++i)
    slices.push_back({i, 0, model->layout[i].num_elements()});
  bf16_state state(slices);
  hf_source source_files(*model);
  for (const auto& slice : slices) {
    std::vector<float> values(slice.num_elements());
    auto got = source_files.read(gpu::state_part::weights, slice, values);
    if (!got) return fail(got.error());
    std::vector<std::uint16_t> bits;
    bits.reserve(values.size());
    for (const float value : values)
      bits.push_back(to_bf16(value));
    if (auto put = state.write(slice, bits); !put) return fail(put.error());
  }
  state.refresh_digest();
  auto engine = engines_.make_sampler(model->files->config());
  if (!engine) return fail(engine.error());
  if (auto loaded = (*engine)->load(state); !loaded) return fail(loaded.error());
  engine_ = std::move(*engine);
  live_ = std::move(state);
  return engine_;
}

result<std::shared_ptr<staged_version>> replica_weights::stage(
    const stage_weights_request& request) {
  if (request.chain.empty()) return fail(errc::invalid_argument, "nothing was given to stage");
  auto staged = std::make_shared<staged_version>();
  staged->version = request.version;
  staged->checkpoint = request.chain.back().id;
  staged->base = live_.digest();
  for (const auto& record : request.chain)
    staged->bytes += total_bytes(record.manifest);
  const bool is_delta = request.chain.front().manifest.kind == checkpoint_kind::sampler_delta;
  auto done = is_delta ? stage_delta(request, *staged) : stage_chain(request, *staged);
  if (!done) return fail(done.error());
  return staged;
}

result<void> replica_weights::stage_chain(const stage_weights_request& request,
                                          staged_version& out) {
  bf16_state next(live_.slices());
  if (auto loaded = load_chain(blobs_, request.chain, next); !loaded) return loaded;
  auto weights = engine_->stage(next);
  if (!weights) return fail(weights.error());
  out.weights = std::move(*weights);
  out.state = next.digest();
  out.bits = std::move(next);
  return {};
}

result<void> replica_weights::stage_delta(const stage_weights_request& request,
                                          staged_version& out) {
  if (request.chain.size() != 1)
    return fail(errc::invalid_argument, "several deltas must come with their base");
  const auto& manifest = request.chain.front().manifest;
  if (live_.digest() != manifest.parent_state) {
    return fail(errc::wrong_base, "the live weights are not what the delta was made from",
                "a version was skipped", "sync the chain from its base");
  }
  auto chunks = decode_checkpoint(blobs_, manifest, live_);
  if (!chunks) return fail(chunks.error());
  auto next = live_.digest_with(*chunks);
  if (!next) return fail(next.error());
  if (*next != manifest.state) {
    return fail(errc::corrupt, "the delta does not give the state that its record promises",
                "a blob was damaged", "sync a base checkpoint");
  }
  std::vector<gpu::element_patch> patches;
  patches.reserve(chunks->size());
  for (const auto& chunk : *chunks)
    patches.push_back({chunk.parameter, chunk.elements, chunk.bits});
  auto weights = engine_->stage(std::span<const gpu::element_patch>(patches));
  if (!weights) return fail(weights.error());
  out.weights = std::move(*weights);
  out.state = *next;
  out.bits = std::move(*chunks);
  return {};
}

void replica_weights::adopt(staged_version& live) {
  if (auto* whole = std::get_if<bf16_state>(&live.bits)) {
    live_ = std::move(*whole);
  } else {
    live_.apply(std::get<std::vector<storage::decoded_chunk>>(live.bits), live.state);
  }
  live.weights.reset();
}

}  // namespace troupe::actors
