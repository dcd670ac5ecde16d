#pragma once

// The op log of every run, on a key_value_store, payloads above limits::inline_value_bytes_max in
// blobs. Several appends and finishes can share one durable write (group commit): they are staged
// with append/finish and become durable together with flush().
//
// Threading: one thread at a time.
// Errors: as the stores; errc::seq_reused when a logged seq_id comes with another body digest;
// errc::not_found when finish names an op that was never appended; errc::corrupt for a payload that
// fails its digest.
// Invariants: LOG-1 after flush() returned ok everything staged before it survives a crash.
//             LOG-2 finished ops stay finished with the same outcome: a second finish is ignored.
//             LOG-3 ops of a run come back in order of seq_id.
//             LOG-4 trim keeps the payload of an op that has not ended.
// Format: docs/formats/records.md.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "messages/journal.hpp"
#include "storage/blob_store.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::storage {

class journal {
 public:
  journal(key_value_store& values, blob_store& blobs);

  result<void> append(const append_op_request& request);
  result<void> finish(const finish_op_request& request);
  /// Other small records that the next flush() writes along.
  void share(write_batch batch);
  /// Makes everything staged durable in one write. On failure nothing of it counts.
  result<void> flush();

  /// Reads durable ops; a page ends before the reply would pass a frame.
  result<read_log_reply> read(const read_log_request& request);

  /// Drops payloads through `through_seq_id`, durably; outcomes stay. A trimmed op comes back with
  /// its kind and small fields and an empty batch.
  result<void> trim(const trim_log_request& request);

 private:
  result<std::optional<std::string>> find(const std::string& key);
  result<void> stage_op(const std::string& key, const logged_op& op);

  key_value_store& values_;
  blob_store& blobs_;
  std::map<std::string, std::string> staged_;  ///< of column oplog
  std::vector<put_entry> staged_refs_;
  write_batch shared_;
};

}  // namespace troupe::storage
