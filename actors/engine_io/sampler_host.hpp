#pragma once

// Everything one replica does, without actors: serves one weight version, stages the next beside it
// and switches between two decode steps.
//
// Threading: one thread (the worker's). Errors: a failed stage or commit leaves the live version
// serving. Invariants: SYNC-1 the live state changes only in commit, and only to a staged state
// whose digest the caller names. SYNC-2 a delta is staged only against the state it was made from.

#include <memory>
#include <optional>
#include <variant>

#include "actors/engine_io/delta_chain.hpp"
#include "gpu/engine_factory.hpp"
#include "messages/weight_sync.hpp"

namespace troupe::actors {

class sampler_host {
 public:
  sampler_host(gpu::engine_factory& engines, storage::blob_store& blobs);

  /// Serves the directory's weights, rounded to bf16, as version 0.
  result<model_config> open(const model_source& source);

  result<state_digest> stage(const stage_weights_request& request);
  result<void> commit(const commit_weights_request& request);

  [[nodiscard]] gpu::sampler_engine& engine() { return *engine_; }
  [[nodiscard]] std::uint64_t version() const { return version_; }
  [[nodiscard]] const checkpoint_id& checkpoint() const { return checkpoint_; }
  [[nodiscard]] state_digest state() const { return live_.digest(); }

 private:
  using whole_or_changes = std::variant<bf16_state, std::vector<storage::decoded_chunk>>;
  struct staged_version {
    std::uint64_t version = 0;
    checkpoint_id checkpoint;
    state_digest state;
    whole_or_changes weights;
  };

  result<state_digest> stage_chain(const stage_weights_request& request);
  result<state_digest> stage_delta(const stage_weights_request& request);

  gpu::engine_factory& engines_;
  storage::blob_store& blobs_;
  std::unique_ptr<gpu::sampler_engine> engine_;
  bf16_state live_;
  std::uint64_t version_ = 0;
  checkpoint_id checkpoint_;
  std::optional<staged_version> staged_;
};

}  // namespace troupe::actors
