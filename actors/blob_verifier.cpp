#include "actors/blob_verifier.hpp"

#include "actors/runtime/errors.hpp"

namespace troupe::actors {

blob_verifier_state::blob_verifier_state(blob_verifier_actor::pointer, storage::blob_store* blobs)
    : blobs_(blobs) {}

blob_verifier_actor::behavior_type blob_verifier_state::make_behavior() {
  return {
      [this](const verify_blobs& r) -> caf::result<done> {
        for (const blob_id& blob : r.blobs) {
          if (auto ok = blobs_->verify(blob); !ok) return to_caf(ok.error());
        }
        return done{};
      },
  };
}

blob_verifier_actor spawn_blob_verifier(caf::actor_system& system, storage::blob_store& blobs,
                                        worker_threads threads) {
  using impl = caf::stateful_actor<blob_verifier_state, blob_verifier_actor::impl>;
  if (threads == worker_threads::own_thread) return system.spawn<impl, caf::detached>(&blobs);
  return system.spawn<impl>(&blobs);
}

}  // namespace troupe::actors
