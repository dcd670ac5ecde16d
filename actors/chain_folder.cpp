#include "actors/chain_folder.hpp"

#include <exception>
#include <utility>

#include "actors/runtime/errors.hpp"
#include "config/failpoint.hpp"
#include "storage/chain_fold.hpp"

namespace troupe::actors {

chain_folder_state::chain_folder_state(chain_folder_actor::pointer, storage::blob_store* blobs)
    : blobs_(blobs) {}

chain_folder_actor::behavior_type chain_folder_state::make_behavior() {
  return {
      [this](const fold_chain& r) -> caf::result<commit_checkpoint_request> {
        config::failpoint("f1");
        try {
          auto folded = storage::fold_chain(*blobs_, r.chain);
          if (!folded) return to_caf(folded.error());
          config::failpoint("f2");
          return commit_checkpoint_request{std::move(*folded)};
        } catch (const std::bad_alloc&) {
          return to_caf({errc::storage, "there is no memory to fold a chain",
                         "the control node holds too much", "it is tried again later"});
        }
      },
  };
}

chain_folder_actor spawn_chain_folder(caf::actor_system& system, storage::blob_store& blobs,
                                      worker_threads threads) {
  using impl = caf::stateful_actor<chain_folder_state, chain_folder_actor::impl>;
  if (threads == worker_threads::own_thread) return system.spawn<impl, caf::detached>(&blobs);
  return system.spawn<impl>(&blobs);
}

}  // namespace troupe::actors
