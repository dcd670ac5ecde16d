#include "actors/engine_io/sampler_host.hpp"

#include <utility>

#include "messages/state_digest.hpp"

namespace troupe::actors {

sampler_host::sampler_host(gpu::engine_factory& engines, storage::blob_store& blobs)
    : engines_(engines), blobs_(blobs) {}

result<model_config> sampler_host::open(const model_source& source) {
  auto model = open_model(source);
  if (!model) return fail(model.error());
  std::vector<gpu::parameter_slice> slices;
  for (std::uint32_t i = 0; i < model->layout.size(); ++i) {
    slices.push_back({i, 0, model->layout[i].num_elements()});
  }
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
  return model->files->config();
}

result<state_digest> sampler_host::stage(const stage_weights_request& request) {
  staged_.reset();
  if (request.chain.empty()) return fail(errc::invalid_argument, "nothing was given to stage");
  const bool is_delta = request.chain.front().manifest.kind == checkpoint_kind::sampler_delta;
  return is_delta ? stage_delta(request) : stage_chain(request);
}

result<state_digest> sampler_host::stage_chain(const stage_weights_request& request) {
  bf16_state next(live_.slices());
  if (auto loaded = load_chain(blobs_, request.chain, next); !loaded) return fail(loaded.error());
  const state_digest digest = next.digest();
  staged_ = staged_version{request.version, request.chain.back().id, digest, std::move(next)};
  return digest;
}

result<state_digest> sampler_host::stage_delta(const stage_weights_request& request) {
  if (request.chain.size() != 1) {
    return fail(errc::invalid_argument, "several deltas must come with their base");
  }
  const auto& record = request.chain.front();
  if (live_.digest() != record.manifest.parent_state) {
    return fail(errc::wrong_base, "the live weights are not what the delta was made from",
                "a version was skipped", "sync the chain from its base");
  }
  auto chunks = decode_checkpoint(blobs_, record.manifest, live_);
  if (!chunks) return fail(chunks.error());
  state_digest next = live_.digest();
  for (const auto& chunk : *chunks) {
    for (std::size_t i = 0; i < chunk.elements.size(); ++i) {
      std::uint16_t old = 0;
      const auto at = chunk.elements[i];
      if (auto got = live_.read({chunk.parameter, at, at + 1}, {&old, 1}); !got) {
        return fail(got.error());
      }
      const auto gone = element_digest(chunk.parameter, at, old);
      next.low -= gone.low;
      next.high -= gone.high;
      next += element_digest(chunk.parameter, at, chunk.bits[i]);
    }
  }
  if (next != record.manifest.state) {
    return fail(errc::corrupt, "the delta does not give the state that its record promises",
                "a blob was damaged", "sync a base checkpoint");
  }
  staged_ = staged_version{request.version, record.id, next, std::move(*chunks)};
  return next;
}

result<void> sampler_host::commit(const commit_weights_request& request) {
  if (!staged_ || staged_->version != request.version || staged_->state != request.state) {
    return fail(errc::not_found, "version " + std::to_string(request.version) + " is not staged",
                "the replica restarted, or another sync replaced it", "stage it again");
  }
  if (auto* whole = std::get_if<bf16_state>(&staged_->weights)) {
    if (auto loaded = engine_->load(*whole); !loaded) return loaded;
    live_ = std::move(*whole);
  } else {
    const auto& chunks = std::get<std::vector<storage::decoded_chunk>>(staged_->weights);
    std::vector<gpu::element_patch> patches;
    for (const auto& c : chunks)
      patches.push_back({c.parameter, c.elements, c.bits});
    if (auto patched = engine_->patch(patches); !patched) return patched;
    apply_chunks(chunks, live_);
  }
  version_ = staged_->version;
  checkpoint_ = staged_->checkpoint;
  staged_.reset();
  return {};
}

}  // namespace troupe::actors
