#pragma once

// The op log of a run: what was accepted, and how each op ended. Accepted ops without an end are
// pending; replay applies the committed ones after a snapshot in order of seq_id.
//
// Threading: plain values.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "messages/checkpoint.hpp"
#include "messages/sampling.hpp"
#include "messages/training.hpp"

namespace troupe {

/// Appended, durably, before "queued" leaves the run. Repeating it is harmless.
struct append_op_request {
  op_request op;
  blob_id body_digest;  ///< SHA-256 of the op's wire form: tells a repeat from a reuse
  bool operator==(const append_op_request&) const = default;
};

/// The op ended: with its reply, or for good with an error. Durable before the reply leaves.
struct finish_op_request {
  run_id run;
  std::uint64_t seq_id = 0;
  std::uint64_t step = 0;  ///< committed optim_steps after this op
  state_digest weights;    ///< after this op, where the op changes weights
  std::variant<op_reply, error> outcome;
  bool operator==(const finish_op_request&) const = default;
};

struct logged_op {
  op_request op;
  blob_id body_digest;
  bool finished = false;
  std::uint64_t step = 0;
  state_digest weights;
  std::variant<op_reply, error> outcome;  ///< meaningful when finished
  bool operator==(const logged_op&) const = default;
};

struct read_log_request {
  run_id run;
  std::uint64_t after_seq_id = 0;
  std::uint32_t max_ops = 64;  ///< a page; the reply may hold fewer to stay within a frame
  bool operator==(const read_log_request&) const = default;
};

struct read_log_reply {
  std::vector<logged_op> ops;
  bool complete = false;  ///< nothing after the last one
  bool operator==(const read_log_reply&) const = default;
};

/// Payloads up to `through_seq_id` are covered by a verified snapshot; outcomes are kept.
struct trim_log_request {
  run_id run;
  std::uint64_t through_seq_id = 0;
  bool operator==(const trim_log_request&) const = default;
};

/// Ops in (to_seq_id, through_seq_id] are void: no replay of them could be exact.
struct run_rollback {
  std::uint64_t to_seq_id = 0;
  std::uint64_t through_seq_id = 0;
  bool acknowledged = false;  ///< until then the run refuses ops
  std::string reason;
  bool operator==(const run_rollback&) const = default;
};

/// What a restarted control node needs to bring a run back.
struct run_record {
  run_id run;
  create_run_request request;
  std::uint64_t incarnation = 0;  ///< last one handed out; raised durably before use
  std::uint64_t client_epoch = 0;
  checkpoint_id snapshot;            ///< newest verified training image; empty: the model itself
  checkpoint_id published;           ///< last sampler checkpoint
  std::uint64_t suspect_seq_id = 0;  ///< the op that was under way when shards were lost
  std::uint32_t suspect_losses = 0;  ///< how often in a row
  std::optional<run_rollback> rollback = std::nullopt;
  bool operator==(const run_record&) const = default;
};

struct put_run_request {
  run_record record;
  bool operator==(const put_run_request&) const = default;
};

struct list_runs_request {
  bool operator==(const list_runs_request&) const = default;
};

struct run_list {
  std::vector<run_record> runs;
  bool operator==(const run_list&) const = default;
};

/// What a restarted control node needs to serve a model again.
struct deployment_record {
  create_deployment_request request;
  std::uint64_t version = 0;
  checkpoint_id checkpoint;  ///< live at that version; empty at version 0
  bool operator==(const deployment_record&) const = default;
};

struct put_deployment_request {
  deployment_record record;
  bool operator==(const put_deployment_request&) const = default;
};

struct forget_deployment_request {
  deployment_id deployment;
  bool operator==(const forget_deployment_request&) const = default;
};

struct list_deployments_request {
  bool operator==(const list_deployments_request&) const = default;
};

struct deployment_list {
  std::vector<deployment_record> deployments;
  bool operator==(const deployment_list&) const = default;
};

}  // namespace troupe
