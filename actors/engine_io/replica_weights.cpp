#include "actors/engine_io/replica_weights.hpp"

#include <span>
#include <utility>

#include "actors/engine_io/adapter_files.hpp"

namespace troupe::actors {

replica_weights::replica_weights(gpu::engine_factory& engines, storage::blob_store& blobs)
    : engines_(engines), blobs_(blobs) {}

result<std::shared_ptr<gpu::sampler_engine>> replica_weights::open(const model_source& source) {
  auto model = open_model(source);
  if (!model) return fail(model.error());
  auto read = read_directory(*model);
  if (!read) return fail(read.error());
  bf16_state state = std::move(*read);
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
  if (auto done = stage_by_kind(request, *staged); !done) return fail(done.error());
  return staged;
}

result<void> replica_weights::stage_by_kind(const stage_weights_request& request,
                                            staged_version& out) {
  switch (request.chain.front().manifest.kind) {
    case checkpoint_kind::sampler_delta:
      return stage_delta(request, out);
    case checkpoint_kind::sampler_adapter:
      return stage_adapter(request, out);
    default:
      return stage_chain(request, out);
  }
}

result<std::shared_ptr<const gpu::sampler_adapter>> replica_weights::load_adapter(
    const checkpoint_record& record) {
  if (record.manifest.parent_state != live_.digest()) {
    return fail(errc::wrong_base, "adapter " + record.id.value + " stands on other weights",
                "the deployment serves other weights than those it was trained beside",
                "ask a deployment of " + record.manifest.model_directory);
  }
  auto values = adapter_values::load(blobs_, record.manifest);
  if (!values) return fail(values.error());
  return engine_->stage_adapter(values->lora(), *values);
}

/// The base as it is when it is live already, else from its directory.
result<void> replica_weights::stage_adapter(const stage_weights_request& request,
                                            staged_version& out) {
  const checkpoint_manifest& manifest = request.chain.front().manifest;
  auto values = adapter_values::load(blobs_, manifest);
  if (!values) return fail(values.error());
  auto adapter = engine_->stage_adapter(values->lora(), *values);
  if (!adapter) return fail(adapter.error());
  if (manifest.parent_state == live_.digest()) {
    auto weights = engine_->stage(std::span<const gpu::element_patch>{});
    if (!weights) return fail(weights.error());
    out.weights = std::move(*weights);
  } else if (auto ok = stage_directory(manifest, out); !ok) {
    return ok;
  }
  out.weights->adapter = std::move(*adapter);
  out.state = manifest.state;
  out.base_after = manifest.parent_state;
  return {};
}

result<void> replica_weights::stage_directory(const checkpoint_manifest& manifest,
                                              staged_version& out) {
  auto base = open_base(manifest);
  if (!base) return fail(base.error());
  auto weights = engine_->stage(base->weights);
  if (!weights) return fail(weights.error());
  out.weights = std::move(*weights);
  out.bits = std::move(base->weights);
  return {};
}

result<void> replica_weights::stage_chain(const stage_weights_request& request,
                                          staged_version& out) {
  bf16_state next(live_.slices());
  if (auto loaded = load_chain(blobs_, request.chain, next); !loaded) return loaded;
  auto weights = engine_->stage(next);
  if (!weights) return fail(weights.error());
  out.weights = std::move(*weights);
  out.state = out.base_after = next.digest();
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
  out.state = out.base_after = *next;
  out.bits = std::move(*chunks);
  return {};
}

void replica_weights::adopt(staged_version& live) {
  if (auto* whole = std::get_if<bf16_state>(&live.bits)) {
    live_ = std::move(*whole);
  } else if (const auto* changes = std::get_if<std::vector<storage::decoded_chunk>>(&live.bits)) {
    live_.apply(*changes, live.base_after);
  }
  live.weights.reset();
}

}  // namespace troupe::actors
