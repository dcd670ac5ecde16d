#pragma once

// Records of durable state. A checkpoint is a manifest (this file's struct, stored in RocksDB) and
// blobs (files named by content hash). A record implies durable blobs; a blob without a record is
// garbage.
//
// Threading: plain values.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "messages/ids.hpp"
#include "messages/model.hpp"

namespace troupe {

enum class checkpoint_kind : std::uint8_t {
  training = 0,       ///< asked for by save_state: fp32 weights, moments, step
  snapshot = 1,       ///< automatic recovery image, same content
  sampler_base = 2,   ///< bf16 weights
  sampler_delta = 3,  ///< changed bf16 elements against `parent`
  /// fp32 adapters. `parent_state` is the bf16 state of the base they stand on, `state` the sum of
  /// that and their own.
  sampler_adapter = 4,
};

struct checkpoint_file {
  blob_id blob;
  std::uint64_t bytes = 0;
  std::uint32_t rank = 0;  ///< writer; files of one checkpoint are ordered by rank
  bool operator==(const checkpoint_file&) const = default;
};

struct checkpoint_manifest {
  run_id run;
  checkpoint_kind kind = checkpoint_kind::training;
  std::string name;  ///< for people; never used to find a base
  std::uint64_t step = 0;
  std::uint64_t seq_id = 0;           ///< last op whose effect is inside
  checkpoint_id parent;               ///< what it was made from; empty for a first one
  checkpoint_id base;                 ///< delta: first element of its chain
  std::uint32_t depth = 0;            ///< delta: number of deltas since the base, this one included
  state_digest parent_state;          ///< delta, adapter: state it applies to
  state_digest state;                 ///< state it holds or produces
  std::uint64_t optimizer_steps = 0;  ///< training, snapshot: AdamW step count
  model_config model;
  std::string model_directory;  ///< source of tokenizer and config files for export
  std::vector<checkpoint_file> files;
  std::uint64_t created_unix_ms = 0;
  std::optional<lora_config> lora = std::nullopt;  ///< holds adapters only
  /// Sampler kinds: the trainer's own logprobs of probe_prompt's tokens from the second one on.
  std::vector<float> probe_logprobs = {};
  /// Delta that replaces a chain: the checkpoint whose state it gives from `base` in one file.
  checkpoint_id folds = {};
  bool operator==(const checkpoint_manifest&) const = default;
};

struct checkpoint_record {
  checkpoint_id id;
  checkpoint_manifest manifest;
  bool operator==(const checkpoint_record&) const = default;
};

[[nodiscard]] std::uint64_t total_bytes(const checkpoint_manifest& manifest);

// -- requests to the checkpoint store ----------------------------------------------------------

/// Makes a checkpoint part of the lineage. Its blobs must already be durable; they are verified by
/// size. Answers the record with its id. Repeating it is harmless.
struct commit_checkpoint_request {
  checkpoint_manifest manifest;
  bool operator==(const commit_checkpoint_request&) const = default;
};

struct get_checkpoint_request {
  checkpoint_id checkpoint;  ///< full id or a unique prefix of at least 6 digits
  bool operator==(const get_checkpoint_request&) const = default;
};

struct list_checkpoints_request {
  run_id run;  ///< empty: all runs
  bool operator==(const list_checkpoints_request&) const = default;
};

struct checkpoint_list {
  std::vector<checkpoint_record> records;  ///< by run, then step, then kind
  bool operator==(const checkpoint_list&) const = default;
};

enum class chain_form : std::uint8_t {
  shortest = 0,  ///< folded deltas in place of those they replace
  complete = 1,  ///< every delta as it was published
};

/// The chain from the newest base (or root) to the asked one, oldest first.
/// Nothing of it is removed for deadlines::checkpoint_lease.
struct checkpoint_chain_request {
  checkpoint_id checkpoint;
  chain_form form = chain_form::shortest;
  bool operator==(const checkpoint_chain_request&) const = default;
};

/// Forgets a checkpoint. errc::in_use while something needs it: a run, a deployment, a later delta.
struct remove_checkpoint_request {
  checkpoint_id checkpoint;
  bool operator==(const remove_checkpoint_request&) const = default;
};

/// Looks for what nothing needs any more, and removes it unless `dry_run`.
struct collect_garbage_request {
  bool dry_run = true;
  /// Unnamed sampler checkpoints that nothing needs are kept for this long.
  std::uint64_t sampler_age_s = 0;
  bool operator==(const collect_garbage_request&) const = default;
};

struct garbage_item {
  checkpoint_id checkpoint;
  run_id run;
  checkpoint_kind kind = checkpoint_kind::snapshot;
  std::uint64_t step = 0;
  std::uint64_t bytes = 0;
  bool operator==(const garbage_item&) const = default;
};

struct garbage_report {
  std::vector<garbage_item> checkpoints;  ///< forgotten, or what would be
  std::uint64_t removed_files = 0;        ///< now; those of young checkpoints follow later
  std::uint64_t removed_bytes = 0;
  std::uint64_t dying_files = 0;  ///< wait for readers that may have begun before
  std::uint64_t dying_bytes = 0;
  std::uint64_t kept_checkpoints = 0;
  bool operator==(const garbage_report&) const = default;
};

/// Tokens on which trainer and sampler are compared: spread over the vocabulary, the same always.
[[nodiscard]] std::vector<token_id> probe_prompt(const model_config& model);

/// Somebody serves or will read these: nothing of their chains is removed for
/// deadlines::checkpoint_lease. Unknown ones are passed over; the lease outlives the control node.
struct lease_checkpoints_request {
  std::vector<checkpoint_id> checkpoints;
  bool operator==(const lease_checkpoints_request&) const = default;
};

/// A chain could not be verified by who loaded it: what is published next shall not build on it.
struct doubt_chain_request {
  checkpoint_id checkpoint;
  std::string reason;
  bool operator==(const doubt_chain_request&) const = default;
};

/// Asks what a run whose last published checkpoint is this one should publish next.
struct plan_publish_request {
  checkpoint_id published;
  bool operator==(const plan_publish_request&) const = default;
};

enum class publish_advice : std::uint8_t {
  delta = 0,
  base_for_depth = 1,  ///< the chain has its greatest length
  base_for_bytes = 2,  ///< reading the deltas costs too much beside reading a base
  base_for_doubt = 3,  ///< the chain could not be verified
};

struct publish_plan {
  publish_advice advice = publish_advice::delta;
  bool operator==(const publish_plan&) const = default;
};

/// Reads every file back and compares it with its name.
struct verify_checkpoint_request {
  checkpoint_id checkpoint;
  bool operator==(const verify_checkpoint_request&) const = default;
};

}  // namespace troupe
