#pragma once

// The bits a replica serves, with the adapter deployed beside them if any, and how the next version
// is made from them while the engine decodes: fetched, decoded, verified and laid out for the
// engine, until nothing is left to do but to swap.
//
// Why the bits are kept beside the engine's own copy: a delta is decoded against them and digested
// with them, in canonical order, without stopping the engine.
//
// Threading: one thread (the stager's); a staged_version is handed to the engine's thread and back.
// Errors: a failed stage leaves everything as it was. errc::wrong_base, errc::corrupt and
// storage's. Invariants: SYNC-1 the bits change only in adopt, to what the engine has made live.
//             SYNC-2 a delta is staged only against the state it was made from.

#include <memory>
#include <variant>
#include <vector>

#include "actors/engine_io/delta_chain.hpp"
#include "gpu/engine_factory.hpp"
#include "messages/weight_sync.hpp"

namespace troupe::actors {

/// What a commit needs: the engine's side of a version, and what becomes of the bits.
struct staged_version {
  std::uint64_t version = 0;
  checkpoint_id checkpoint;
  state_digest state;
  state_digest base;        ///< of the live weights; what is not whole fits no other
  state_digest base_after;  ///< of the weights once it is live, without any adapter
  std::uint64_t bytes = 0;
  std::unique_ptr<gpu::staged_weights> weights;
  /// What becomes of the bits: others, changes, or nothing.
  std::variant<std::monostate, std::vector<storage::decoded_chunk>, bf16_state> bits;

  [[nodiscard]] bool is_whole() const { return bits.index() == 2; }
};

class replica_weights {
 public:
  replica_weights(gpu::engine_factory& engines, storage::blob_store& blobs);

  /// The directory's weights, rounded to bf16, as version 0, in an engine that serves them.
  result<std::shared_ptr<gpu::sampler_engine>> open(const model_source& source);

  result<std::shared_ptr<staged_version>> stage(const stage_weights_request& request);

  /// Errors: errc::wrong_base when it stands on other weights than the live ones.
  result<std::shared_ptr<const gpu::sampler_adapter>> load_adapter(const checkpoint_record& record);

  /// The engine has made `live` its weights.
  void adopt(staged_version& live);

  [[nodiscard]] state_digest state() const { return live_.digest(); }

 private:
  result<void> stage_by_kind(const stage_weights_request& request, staged_version& out);
  result<void> stage_directory(const checkpoint_manifest& manifest, staged_version& out);
  result<void> stage_chain(const stage_weights_request& request, staged_version& out);
  result<void> stage_adapter(const stage_weights_request& request, staged_version& out);
  result<void> stage_delta(const stage_weights_request& request, staged_version& out);

  gpu::engine_factory& engines_;
  storage::blob_store& blobs_;
  std::shared_ptr<gpu::sampler_engine> engine_;
  bf16_state live_;
};

}  // namespace troupe::actors
