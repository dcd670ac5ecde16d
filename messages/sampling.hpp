#pragma once

// What a deployment is asked to generate, and what it answers. Semantics are Tinker's: logprobs of
// sampled tokens are those of the temperature-scaled distribution, temperature 0 is greedy, the
// stop token is part of the output, a seed gives the same tokens again and other tokens for each
// index of num_samples, independent of what else is in the batch.
//
// Threading: plain values.

#include <cstdint>
#include <string>
#include <vector>

#include "messages/ids.hpp"
#include "messages/model.hpp"

namespace troupe {

struct sampling_params {
  std::uint32_t max_tokens = 16;
  double temperature = 1.0;
  std::int32_t top_k = -1;  ///< -1: no limit
  double top_p = 1.0;
  std::uint64_t seed = 0;
  std::vector<token_id> stop_tokens;
  bool operator==(const sampling_params&) const = default;
};

struct sample_request {
  deployment_id deployment;
  std::vector<token_id> prompt;
  sampling_params params;
  std::uint32_t num_samples = 1;
  std::uint64_t min_version = 0;  ///< wait-free: an older replica answers errc::busy
  bool operator==(const sample_request&) const = default;
};

enum class stop_reason : std::uint8_t { stop = 0, length = 1 };

struct sampled_sequence {
  std::vector<token_id> tokens;
  std::vector<float> logprobs;  ///< same length as tokens
  stop_reason reason = stop_reason::length;
  std::uint64_t first_version = 0;  ///< weight version of the first sampled token
  std::uint64_t last_version = 0;   ///< of the last one
  bool operator==(const sampled_sequence&) const = default;
};

struct sample_reply {
  std::vector<sampled_sequence> sequences;
  bool operator==(const sample_reply&) const = default;
};

// -- deployments -----------------------------------------------------------------------------

struct create_deployment_request {
  std::string name;
  model_source model;  ///< served as version 0 until the first sync
  bool operator==(const create_deployment_request&) const = default;
};

struct deployment_info {
  deployment_id deployment;
  std::uint64_t version = 0;  ///< 0: the model directory itself; then +1 per sync
  checkpoint_id checkpoint;   ///< live sampler checkpoint; empty at version 0
  std::uint32_t replicas = 0;
  std::uint64_t active_sequences = 0;
  model_config model;
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
