#pragma once

// How a live sampler takes a new weight version: stage (load and verify beside the serving one),
// then commit between two decode steps. A failure at any point leaves the old version serving.
//
// Threading: plain values.

#include <cstdint>
#include <string>
#include <vector>

#include "messages/checkpoint.hpp"
#include "messages/ids.hpp"
#include "messages/model.hpp"

namespace troupe {

/// What becomes of sequences that are being decoded when new weights go live.
enum class in_flight_policy : std::uint8_t {
  keep_cache = 0,       ///< they go on with the new weights and their old keys and values
  recompute_cache = 1,  ///< the new weights compute their keys and values again first
  finish_old = 2,       ///< they end on the old weights; what waits starts on the new ones
};

/// Asks a deployment to serve a sampler checkpoint.
struct sync_request {
  deployment_id deployment;
  checkpoint_id checkpoint;
  in_flight_policy in_flight = in_flight_policy::keep_cache;
  bool operator==(const sync_request&) const = default;
};

struct sync_reply {
  std::uint64_t version = 0;
  checkpoint_id checkpoint;
  bool was_delta = false;
  std::uint64_t bytes = 0;  ///< read by a replica
  double stage_ms = 0;      ///< slowest replica: read, decode, verify while serving
  double pause_ms = 0;      ///< slowest replica: decoding stood still
  double total_ms = 0;
  std::uint32_t replicas = 1;  ///< that committed it
  /// Distance of the sampler's logprobs from the trainer's on the checkpoint's probe.
  double logprob_gap_mean = 0;
  double logprob_gap_max = 0;
  bool operator==(const sync_reply&) const = default;
};

/// To one replica: prepare `version` out of these manifests, applied in order onto the live state
/// when the first is a delta, onto nothing when it is a base.
struct stage_weights_request {
  std::uint64_t version = 0;
  std::vector<checkpoint_record> chain;
  bool operator==(const stage_weights_request&) const = default;
};

struct stage_weights_reply {
  std::uint64_t version = 0;
  state_digest state;  ///< of the staged version
  std::uint64_t bytes = 0;
  double stage_ms = 0;
  bool operator==(const stage_weights_reply&) const = default;
};

struct commit_weights_request {
  std::uint64_t version = 0;
  state_digest state;
  in_flight_policy in_flight = in_flight_policy::keep_cache;
  bool operator==(const commit_weights_request&) const = default;
};

struct commit_weights_reply {
  std::uint64_t version = 0;
  double pause_ms = 0;
  bool operator==(const commit_weights_reply&) const = default;
};

/// What one replica serves now.
struct replica_status {
  node_id node;
  std::uint64_t version = 0;
  checkpoint_id checkpoint;
  state_digest state;
  std::uint64_t active_sequences = 0;
  std::uint64_t waiting_sequences = 0;
  std::uint64_t sampled_tokens = 0;
  std::uint64_t held_sequences = 0;  ///< of the active ones: their stream is read too slowly
  std::uint64_t cache_pages = 0;     ///< keys and values, prompt_pages included
  std::uint64_t prompt_pages = 0;    ///< kept of prompts for later ones
  std::uint64_t adapters = 0;        ///< held, the deployed one included
  std::uint64_t adapter_bytes = 0;
  bool operator==(const replica_status&) const = default;
};

struct replica_status_request {
  deployment_id deployment;
  bool operator==(const replica_status_request&) const = default;
};

/// One line of the ledger: what a replica was asked to serve and how it went.
struct ledger_entry {
  deployment_id deployment;
  node_id node;
  std::uint64_t version = 0;
  checkpoint_id checkpoint;
  std::string outcome;  ///< "committed", or why not
  std::uint64_t unix_time_ms = 0;
  std::uint32_t replica = 0;
  std::uint64_t bytes = 0;
  double stage_ms = 0;
  double pause_ms = 0;
  bool operator==(const ledger_entry&) const = default;
};

struct list_ledger_request {
  deployment_id deployment;
  bool operator==(const list_ledger_request&) const = default;
};

/// The newest lines, oldest first.
struct ledger_list {
  std::vector<ledger_entry> entries;
  bool operator==(const ledger_list&) const = default;
};

}  // namespace troupe
