#pragma once

// Forgets checkpoints that nothing needs and removes their files. Needed are: what runs resume from
// and publish against, what deployments serve, what logged loads may have to repeat, what somebody
// just asked to read, everything a user saved or named, and the chain of each delta among them.
//
// Two phases, each of them one durable write: a checkpoint's record goes first, and its files are
// marked as dying; they are removed when nobody can still be reading them, and only if no record
// names them by then. Mark and sweep instead of counting: a count that is wrong once stays wrong.
//
// Everything is done in slices, each no longer than a write or two, because the owner has ops to
// acknowledge meanwhile; what is needed is looked up anew before each.
//
// Threading: one thread at a time (the checkpoint store's). Units: Unix milliseconds.
// Errors: errc::in_use from remove; storage errors. A crash at any point loses nothing: the next
// sweep goes on. Format: docs/formats/records.md.
// Invariants: GC-1 a file is removed only when no record names it; GC-2, GC-3: garbage_marks.hpp.

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/deadlines.hpp"
#include "storage/checkpoint_catalog.hpp"
#include "storage/garbage_marks.hpp"
#include "storage/run_catalog.hpp"

namespace troupe::storage {

/// How long what nothing needs stays; tests shorten it.
struct garbage_rules {
  std::chrono::milliseconds superseded = deadlines::superseded_grace;
  std::chrono::milliseconds files = deadlines::garbage_grace;
  std::chrono::milliseconds lease = deadlines::checkpoint_lease;
  std::chrono::milliseconds samplers = deadlines::sampler_checkpoint_kept;
};

/// A file that nothing needs, since when, and when it may go.
struct dying_file {
  blob_id blob;
  std::uint64_t since_ms = 0;
  std::uint64_t due_ms = 0;
};

/// How far a collection goes.
enum class garbage_scope : std::uint8_t {
  records = 0,  ///< what is recorded
  files = 1,    ///< files without any record as well
};

class garbage_collector {
 public:
  garbage_collector(key_value_store& values, blob_store& blobs, const garbage_rules& rules);

  /// Keeps checkpoints for a while: somebody is about to read them.
  void lease(const std::vector<checkpoint_record>& chain, std::uint64_t now_ms);

  /// What a run has just published stays until its record names it, however old it may be by then.
  void committed(const checkpoint_record& record);
  void recorded(const run_record& run);

  /// The same for what somebody serves, and durable: a restarted control node keeps it as well.
  result<void> hold(const std::vector<checkpoint_id>& checkpoints, std::uint64_t now_ms);

  /// The op of a run loads the checkpoint, and loads it again whenever it is repeated.
  result<void> pin(const checkpoint_id& checkpoint, const run_id& run, std::uint64_t seq_id);

  /// Begins a collection in place of one that is under way.
  void begin(const collect_garbage_request& request, garbage_scope scope);

  /// One slice of it; the report when it was the last. A failure ends the collection.
  result<std::optional<garbage_report>> step(std::uint64_t now_ms);

  /// Everything at once: looks only, or removes.
  result<garbage_report> collect(const collect_garbage_request& request, std::uint64_t now_ms);

  /// What is done without being asked: superseded snapshots, and sampler checkpoints that nobody
  /// named or used for a long time.
  [[nodiscard]] collect_garbage_request by_itself() const;

  /// One checkpoint, because a user says so.
  result<void> remove(const checkpoint_id& checkpoint, std::uint64_t now_ms);

 private:
  enum class stage : std::uint8_t { forget, find_files, mark_files, sweep, done };
  struct collection {
    collect_garbage_request request;
    garbage_scope scope = garbage_scope::records;
    stage next = stage::forget;
    std::vector<blob_info> files;   ///< still to be looked at, last first
    std::vector<dying_file> dying;  ///< the same
    id_set marked;
    garbage_report report;
  };

  result<void> step_of(collection& work, std::uint64_t now_ms);
  result<void> forget_some(collection& work, std::uint64_t now_ms);
  result<void> find_files(collection& work);
  result<void> mark_some(collection& work, std::uint64_t now_ms);
  result<void> begin_sweep(collection& work);
  result<void> sweep_some(collection& work, std::uint64_t now_ms);
  result<void> sweep_one(const dying_file& file, std::uint64_t now_ms, write_batch& batch,
                         garbage_report& report);

  /// What runs, deployments and readers use.
  result<id_set> in_use(std::uint64_t now_ms);
  result<void> add_held(std::uint64_t now_ms, id_set& out);
  result<void> add_runs(id_set& out);
  result<void> add_pins(const std::vector<run_record>& runs, id_set& out);
  result<void> forget(const std::vector<std::string>& garbage, std::uint64_t now_ms);
  result<bool> is_referenced(const blob_id& blob);
  /// Folders of an earlier build do not say which records name a file.
  result<void> index_files();

  key_value_store& values_;
  blob_store& blobs_;
  garbage_rules rules_;
  checkpoint_catalog checkpoints_;
  checkpoint_index index_;
  run_catalog runs_;
  std::optional<collection> work_;
  std::map<std::string, std::uint64_t> leases_;  ///< checkpoint, until when
  std::map<run_id, checkpoint_id> unclaimed_;    ///< the newest of each run
};

}  // namespace troupe::storage
