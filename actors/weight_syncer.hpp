#pragma once

// Brings one sampler checkpoint to one replica after another of a deployment: picks the shortest
// way (the delta alone when the replica serves its parent, else the chain from the base), stages,
// verifies, commits, and writes the ledger.
//
// Owner: deployment. Deadlines: stage, commit, store. Threading: an actor, never blocks.
// Errors: whatever stage or commit answers; the replica then still serves what it served.
// Invariants: SYNCER-1 a commit names the digest that the stage verified. SYNCER-2 a refused delta
//             is tried once more as a whole chain before the sync fails.

#include <memory>

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

/// One replica and what it is to serve.
struct sync_target {
  sampler_actor replica;
  node_id node;
  std::uint64_t version = 0;
  std::uint32_t place = 0;  ///< of the replica in its deployment
  model_config model = {};  ///< that it serves
};

class weight_syncer_state {
 public:
  static constexpr const char* name = "weight_syncer";

  weight_syncer_state(weight_syncer_actor::pointer self, checkpoint_store_actor store,
                      sync_target target);
  weight_syncer_actor::behavior_type make_behavior();

 private:
  struct running;
  using running_ptr = std::shared_ptr<running>;

  caf::result<sync_reply> sync(const sync_request& request);
  void find_chain(const running_ptr& run, const state_digest& live);
  void stage(const running_ptr& run, const state_digest& live);
  void doubt(const running_ptr& run, const error& reason);
  void commit(const running_ptr& run, const stage_weights_reply& staged);
  void probe(const running_ptr& run);
  void end(const running_ptr& run, const std::optional<error>& failure);

  weight_syncer_actor::pointer self_;
  checkpoint_store_actor store_;
  sync_target target_;
  running_ptr running_;
};

[[nodiscard]] weight_syncer_actor spawn_weight_syncer(caf::actor_system& system,
                                                      checkpoint_store_actor store,
                                                      sync_target target);

}  // namespace troupe::actors
