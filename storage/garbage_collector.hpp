#pragma once

// Forgets checkpoints that nothing needs and removes their files. Needed are: what runs resume from
// and publish against, what deployments serve, what logged loads may have to repeat, what somebody
// just asked to read, everything a user saved or named, and the chain of each delta among them.
//
// Two phases, each of them one durable write: a checkpoint's record goes first, and its files are
// marked as dying; they are removed when nobody can still be reading them, and only if no record
// names them by then. Mark and sweep instead of counting: a count that is wrong once stays wrong.
//
// Threading: one thread at a time (the checkpoint store's). Units: Unix milliseconds.
// Errors: errc::in_use from remove; storage errors. A crash at any point loses nothing: the next
// sweep goes on. Format: docs/formats/records.md.
// Invariants: GC-1 a file is removed only when no record names it. GC-2 a kept delta keeps its
//             chain. GC-3 a run keeps its newest snapshot and the one before it.

#include <chrono>
#include <map>
#include <set>

#include "config/deadlines.hpp"
#include "storage/checkpoint_catalog.hpp"
#include "storage/run_catalog.hpp"

namespace troupe::storage {

/// How long what nothing needs stays; tests shorten it.
struct garbage_rules {
  std::chrono::milliseconds superseded = deadlines::superseded_grace;
  std::chrono::milliseconds files = deadlines::garbage_grace;
  std::chrono::milliseconds lease = deadlines::checkpoint_lease;
  std::chrono::milliseconds samplers = deadlines::sampler_checkpoint_kept;
};

class garbage_collector {
 public:
  garbage_collector(key_value_store& values, blob_store& blobs, const garbage_rules& rules);

  /// Keeps checkpoints for a while: somebody is about to read them.
  void lease(const std::vector<checkpoint_record>& chain, std::uint64_t now_ms);

  /// The same for what somebody serves, and durable: a restarted control node keeps it as well.
  result<void> hold(const std::vector<checkpoint_id>& checkpoints, std::uint64_t now_ms);

  /// The op of a run loads the checkpoint, and loads it again whenever it is repeated.
  result<void> pin(const checkpoint_id& checkpoint, const run_id& run, std::uint64_t seq_id);

  /// Everything: looks only, or removes. Files without any record are found too.
  result<garbage_report> collect(const collect_garbage_request& request, std::uint64_t now_ms);

  /// What is done without being asked: superseded snapshots, and sampler checkpoints that nobody
  /// named or used for a long time. Looks at records only, not for files without one.
  result<void> collect_by_itself(std::uint64_t now_ms);

  /// One checkpoint, because a user says so.
  result<void> remove(const checkpoint_id& checkpoint, std::uint64_t now_ms);

 private:
  using id_set = std::set<std::string>;
  struct found_garbage {
    std::vector<checkpoint_record> checkpoints;
    std::uint64_t num_kept = 0;
  };

  result<found_garbage> find_garbage(std::uint64_t now_ms, std::uint64_t sampler_age_ms);
  /// What runs, deployments and readers use.
  result<id_set> in_use(const std::map<std::string, checkpoint_manifest>& known,
                        std::uint64_t now_ms);
  result<void> add_held(std::uint64_t now_ms, id_set& out);
  result<void> add_runs(const std::map<std::string, checkpoint_manifest>& known, id_set& out);
  result<void> add_pins(const std::map<std::string, checkpoint_manifest>& known,
                        const std::vector<run_record>& runs, id_set& out);
  result<void> forget(const std::vector<checkpoint_record>& garbage, std::uint64_t now_ms);
  result<void> sweep(std::uint64_t now_ms, garbage_report& report);
  result<void> mark_orphans(std::uint64_t now_ms);
  result<bool> is_referenced(const blob_id& blob);
  /// Folders of an earlier build do not say which records name a file.
  result<void> index_files();

  key_value_store& values_;
  blob_store& blobs_;
  garbage_rules rules_;
  checkpoint_catalog checkpoints_;
  run_catalog runs_;
  std::map<std::string, std::uint64_t> leases_;  ///< checkpoint, until when
};

}  // namespace troupe::storage
