#pragma once

// Folds chains of deltas for the checkpoint store. An actor of its own, because it reads a whole
// base and the store must go on journalling meanwhile.
//
// Owner: checkpoint_store, which leases the chain and commits the record. Deadline of requests:
// deadlines::fold. Threading: an actor; touches the disk, so it is spawned on a thread of its own.
// Errors: those of storage/chain_fold.

#include <caf/all.hpp>

#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

class chain_folder_state {
 public:
  static constexpr const char* name = "chain_folder";

  chain_folder_state(chain_folder_actor::pointer self, storage::blob_store* blobs);
  chain_folder_actor::behavior_type make_behavior();

 private:
  storage::blob_store* blobs_;
};

/// `blobs` must outlive the actor.
[[nodiscard]] chain_folder_actor spawn_chain_folder(caf::actor_system& system,
                                                    storage::blob_store& blobs,
                                                    worker_threads threads);

}  // namespace troupe::actors
