#pragma once

// Checkpoints and their lineage: which exist, what each was made from, and the chain to serve one.
// Identity is the SHA-256 of the manifest's wire form, so a record cannot change under its name.
//
// Threading: one thread at a time. Format: docs/formats/records.md.
// Errors: errc::not_found; errc::invalid_argument for a prefix that fits several or a manifest
// whose parent, depth or states contradict the lineage; errc::corrupt for a missing or short blob.
// Invariants: LINEAGE-1 a record's blobs were durable before it. LINEAGE-2 parents exist or did; no
// cycle.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "messages/checkpoint.hpp"
#include "storage/blob_store.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::storage {

class checkpoint_catalog {
 public:
  checkpoint_catalog(key_value_store& values, blob_store& blobs);

  /// Record, parent edge and index in one durable write. Idempotent.
  result<checkpoint_record> commit(const checkpoint_manifest& manifest);

  /// By full id or a unique prefix of at least 6 digits.
  result<checkpoint_record> get(std::string_view id_or_prefix);

  /// Of one run, or of all for an empty id; by run, step, kind.
  result<std::vector<checkpoint_record>> list(const run_id& run);

  /// Ids of all checkpoints, by run, step, kind, without their records.
  result<void> visit_ids(const std::function<void(std::string_view)>& visit);

  /// From the newest base to the asked delta, oldest first; one element for any other kind. The
  /// shortest form goes through the newest folded delta on the way.
  result<std::vector<checkpoint_record>> chain(const checkpoint_id& checkpoint, chain_form form);

  /// The delta that gives this checkpoint's state from its base in one file, if there is one.
  result<std::optional<checkpoint_record>> fold_of(const checkpoint_id& checkpoint);

  /// Ancestors by `parent`, the asked one first, as far as they are still there.
  result<std::vector<checkpoint_record>> lineage(const checkpoint_id& checkpoint);

 private:
  result<void> check_lineage(const checkpoint_manifest& manifest);
  result<void> check_fold(const checkpoint_manifest& manifest);
  result<std::optional<checkpoint_record>> find(const checkpoint_id& id);

  key_value_store& values_;
  blob_store& blobs_;
};

/// Everything that says a checkpoint exists, erased in one write; a stone stays where it was, so
/// that what was made from it keeps its history. Its files are garbage from then on.
[[nodiscard]] write_batch forgetting(const checkpoint_record& record);

/// Which records name a file: keys in column refs.
[[nodiscard]] std::string file_refs_name(const blob_id& blob);
[[nodiscard]] put_entry file_ref(const blob_id& blob, const checkpoint_id& checkpoint);

/// SHA-256 of the manifest's canonical wire form.
[[nodiscard]] result<checkpoint_id> identity_of(const checkpoint_manifest& manifest);

}  // namespace troupe::storage
