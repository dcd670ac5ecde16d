#pragma once

// The one actor that writes durable state: the op log, checkpoints with their lineage, run records
// and the ledger. Runs append and finish ops at the same time; what arrives while a write is under
// way shares the next one (group commit), so that many runs cost one disk sync. When a run moves on
// to a new snapshot, what nothing needs any more is forgotten.
//
// Owner: node main. Deadline of requests: deadlines::store.
// Threading: an actor; touches the disk, so it is spawned on a thread of its own.
// Errors: those of storage; a failed write answers every waiting request with it.
// Invariants: STORE-1 an answer means durable. STORE-2 answers leave in order of arrival.

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include <caf/all.hpp>

#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"
#include "storage/chain_planner.hpp"
#include "storage/checkpoint_catalog.hpp"
#include "storage/garbage_collector.hpp"
#include "storage/journal.hpp"
#include "storage/run_catalog.hpp"

namespace troupe::actors {

using checkpoint_store_self =
    checkpoint_store_actor::extend<caf::result<void>(tick), caf::result<void>(garbage_slice)>;

struct checkpoint_store_config {
  storage::key_value_store* values = nullptr;
  storage::blob_store* blobs = nullptr;
  worker_threads threads = worker_threads::own_thread;
  storage::garbage_rules garbage;
  std::function<void(const error&)> garbage_stays;     ///< told when nothing could be removed
  std::function<void(const error&)> fold_failed = {};  ///< told when a chain could not be folded
};

class checkpoint_store_state {
 public:
  static constexpr const char* name = "checkpoint_store";

  checkpoint_store_state(checkpoint_store_self::pointer self, const checkpoint_store_config& config,
                         blob_verifier_actor verifier, chain_folder_actor folder);
  checkpoint_store_self::behavior_type make_behavior();

 private:
  using done_promise = caf::typed_response_promise<done>;
  struct collection {
    collect_garbage_request request;
    storage::garbage_scope scope = storage::garbage_scope::records;
    std::optional<caf::typed_response_promise<garbage_report>> promise;
  };

  caf::result<done> share_next_write(result<void> staged);
  caf::result<done> append(const append_op_request& request);
  caf::result<done> put(const put_run_request& request);
  caf::result<done> keep(const keep_event_request& request);
  void flush();
  caf::result<done> verify(const verify_checkpoint_request& request);

  // -- chains and garbage (checkpoint_store_chains.cpp) --
  caf::result<checkpoint_list> chain(const checkpoint_chain_request& request);
  caf::result<publish_plan> plan(const plan_publish_request& request);
  void fold(const checkpoint_id& checkpoint);
  void fold_ended(const checkpoint_id& checkpoint, const std::optional<error>& failure);
  caf::result<garbage_report> collect(const collect_garbage_request& request);
  void collect_by_itself();
  void begin_collection(collection next);
  void begin_first();
  void collect_slice();

  checkpoint_store_self::pointer self_;
  storage::key_value_store& values_;
  storage::journal journal_;
  storage::checkpoint_catalog checkpoints_;
  storage::chain_planner chains_;
  storage::run_catalog runs_;
  storage::garbage_collector garbage_;
  std::function<void(const error&)> garbage_stays_;
  std::map<run_id, checkpoint_id> snapshots_;  ///< newest of each run
  std::function<void(const error&)> fold_failed_;
  blob_verifier_actor verifier_;
  chain_folder_actor folder_;
  bool is_folding_ = false;
  std::optional<checkpoint_id> next_fold_;
  std::deque<collection> collections_;  ///< the first is under way
  std::vector<done_promise> waiting_;
};

/// The stores must outlive the actor.
[[nodiscard]] checkpoint_store_actor spawn_checkpoint_store(caf::actor_system& system,
                                                            const checkpoint_store_config& config);

}  // namespace troupe::actors
