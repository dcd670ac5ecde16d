#pragma once

// Reads blobs back and compares them with their names. An actor of its own, because a snapshot can
// be gigabytes and the store must go on journalling meanwhile.
//
// Owner: checkpoint_store. Deadline of requests: deadlines::verify.
// Threading: an actor; touches the disk, so it is spawned on a thread of its own.
// Errors: errc::corrupt, errc::not_found and others of the blob store; the first one found.

#include <caf/all.hpp>

#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

class blob_verifier_state {
 public:
  static constexpr const char* name = "blob_verifier";

  blob_verifier_state(blob_verifier_actor::pointer self, storage::blob_store* blobs);
  blob_verifier_actor::behavior_type make_behavior();

 private:
  storage::blob_store* blobs_;
};

/// `blobs` must outlive the actor.
[[nodiscard]] blob_verifier_actor spawn_blob_verifier(caf::actor_system& system,
                                                      storage::blob_store& blobs,
                                                      worker_threads threads);

}  // namespace troupe::actors
