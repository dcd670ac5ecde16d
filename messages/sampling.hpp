#pragma once

// What a deployment is asked to generate, and what it answers. Semantics are Tinker's: logprobs of
// sampled tokens are those of the temperature-scaled distribution, temperature 0 is greedy, the
// stop token is part of the output, a seed gives the same tokens again and other tokens for each
// index of num_samples, independent of what else is in the batch.
//
// Threading: plain values.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "messages/checkpoint.hpp"
#include "messages/ids.hpp"
#include "messages/likeliest.hpp"
#include "messages/model.hpp"

namespace troupe {

struct sampling_params {
  std::uint32_t max_tokens = 16;
  double temperature = 1.0;
  std::int32_t top_k = -1;  ///< -1: no limit
  double top_p = 1.0;
  std::uint64_t seed = 0;
  std::vector<token_id> stop_tokens;
  double min_p = 0;                  ///< drops tokens below this share of the likeliest one
  std::uint32_t topk_logprobs = 0;   ///< likeliest tokens to name beside each sampled one
  bool with_other_logprobs = false;  ///< fills raw_logprobs and sampling_logprobs
  bool operator==(const sampling_params&) const = default;
};

struct sample_request {
  deployment_id deployment;
  std::vector<token_id> prompt;
  sampling_params params;
  std::uint32_t num_samples = 1;
  std::uint64_t min_version = 0;  ///< wait-free: an older replica answers errc::busy
  bool prompt_logprobs = false;
  std::uint32_t topk_prompt_logprobs = 0;  ///< likeliest tokens to name at each prompt position
  /// No token may come from a newer version; with min_version equal to it, exactly this one.
  std::uint64_t max_version = std::numeric_limits<std::uint64_t>::max();
  /// The sender's number for it, by which it is cancelled or read; 0: neither is wanted.
  std::uint64_t ticket = 0;
  /// A checkpoint of kind sampler_adapter, applied for this request only; empty: what is deployed.
  checkpoint_id adapter = {};
  /// The adapter's record: filled in by the deployment for its replica.
  std::optional<checkpoint_record> adapter_record = std::nullopt;
  /// Tokens to score in place of prompt[1], prompt[2], ..., equally many for each of them.
  std::vector<token_id> prompt_targets = {};
  bool operator==(const sample_request&) const = default;
};

enum class stop_reason : std::uint8_t { stop = 0, length = 1 };

/// A sampled token with what its request wanted to know of it; not a message by itself.
struct scored_token {
  token_id token = 0;
  float logprob = 0;
  float raw_logprob = 0;       ///< with with_other_logprobs
  float sampling_logprob = 0;  ///< with with_other_logprobs
  likeliest_tokens topk;       ///< of its position, with topk_logprobs
};

/// Tokens from `first_token` on, to the next span, came from `version`.
struct version_span {
  std::uint32_t first_token = 0;
  std::uint64_t version = 0;
  bool operator==(const version_span&) const = default;
};

struct sampled_sequence {
  std::vector<token_id> tokens;
  std::vector<float> logprobs;  ///< same length as tokens
  stop_reason reason = stop_reason::length;
  std::uint64_t first_version = 0;  ///< weight version of the first sampled token
  std::uint64_t last_version = 0;   ///< of the last one
  std::vector<version_span> versions;
  likeliest_tokens topk;                 ///< under the distribution of `logprobs`
  std::vector<float> raw_logprobs;       ///< of the model's own distribution: temperature 1
  std::vector<float> sampling_logprobs;  ///< of what was drawn from: after top-k, top-p, min-p
  bool operator==(const sampled_sequence&) const = default;
};

struct sample_reply {
  std::vector<sampled_sequence> sequences;
  std::vector<float> prompt_logprobs;      ///< at temperature 1, of prompt[1], prompt[2], ...
  likeliest_tokens prompt_topk;            ///< at the same positions
  std::uint32_t cached_prompt_tokens = 0;  ///< that needed no computing
  std::vector<float> prompt_target_logprobs = {};  ///< of prompt_targets, at temperature 1
  bool operator==(const sample_reply&) const = default;
};

// -- streams and cancellation ------------------------------------------------------------------

/// Asks for an answer piece by piece. It is acknowledged when a replica has taken it; then its
/// reader asks for one chunk after the other. A replica decodes only a little ahead of its reader.
struct stream_sample_request {
  sample_request request;  ///< with a ticket
  bool operator==(const stream_sample_request&) const = default;
};

/// Asks for the next piece, and waits until there is one.
struct read_sample_request {
  deployment_id deployment;
  std::uint64_t ticket = 0;
  std::uint64_t chunk = 0;  ///< counts from 0; chunks are read in order
  bool operator==(const read_sample_request&) const = default;
};

struct sample_chunk {
  std::uint64_t chunk = 0;
  sample_reply part;  ///< one entry per sample, with what is new; spans count from the part's start
  std::vector<std::uint32_t> ended;  ///< samples whose last token this is; their reason counts
  bool is_last = false;              ///< every sample has ended
  bool operator==(const sample_chunk&) const = default;
};

/// Gives up an open request of the same sender: it ends with errc::cancelled. Harmless for one
/// that has ended.
struct cancel_sample_request {
  deployment_id deployment;
  std::uint64_t ticket = 0;
  bool operator==(const cancel_sample_request&) const = default;
};

// -- deployments -----------------------------------------------------------------------------

struct create_deployment_request {
  std::string name;
  model_source model;  ///< served as version 0 until the first sync
  std::uint32_t replicas = 1;
  bool operator==(const create_deployment_request&) const = default;
};

/// Changes how many replicas a deployment has. Those that go finish what they decode.
struct scale_deployment_request {
  deployment_id deployment;
  std::uint32_t replicas = 1;
  bool operator==(const scale_deployment_request&) const = default;
};

enum class replica_phase : std::uint8_t { opening = 0, catching_up = 1, serving = 2, draining = 3 };

/// What a deployment knows of one of its replicas.
struct replica_info {
  std::uint32_t replica = 0;  ///< its place; a replacement takes it over
  node_id node;
  replica_phase phase = replica_phase::opening;
  std::uint64_t version = 0;
  std::uint64_t active_requests = 0;
  std::uint64_t answered_requests = 0;
  std::uint32_t restarts = 0;
  bool operator==(const replica_info&) const = default;
};

struct deployment_info {
  deployment_id deployment;
  std::uint64_t version = 0;           ///< 0: the model directory itself; then +1 per sync
  checkpoint_id checkpoint;            ///< live sampler checkpoint; empty at version 0
  std::uint32_t replicas = 0;          ///< that serve
  std::uint64_t active_sequences = 0;  ///< requests under way
  model_config model;
  std::uint32_t wanted_replicas = 1;
  std::vector<replica_info> places = {};
  std::uint64_t waiting_requests = 0;
  /// Distance of the sampler's logprobs from the trainer's on a probe, at the last sync.
  double logprob_gap_mean = 0;
  double logprob_gap_max = 0;
  bool operator==(const deployment_info&) const = default;
};

struct deployment_status_request {
  deployment_id deployment;
  bool operator==(const deployment_status_request&) const = default;
};

/// Ends a deployment and gives its nodes back; its checkpoints stay.
struct remove_deployment_request {
  deployment_id deployment;
  bool operator==(const remove_deployment_request&) const = default;
};

}  // namespace troupe
