#pragma once

// What a training run tells the ranks that hold its model. Every message carries the identity of
// the shard set it was made for; a shard of another incarnation refuses it with errc::fenced.
//
// Threading: plain values.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "messages/checkpoint.hpp"
#include "messages/training.hpp"

namespace troupe {

struct shard_identity {
  run_id run;
  std::uint64_t incarnation = 0;
  std::uint32_t rank = 0;
  std::uint32_t world_size = 1;
  bool operator==(const shard_identity&) const = default;
};

/// To a node agent: host this rank. The answer's address is where peers reach its communicator.
struct open_shard_request {
  shard_identity identity;
  model_source model;
  std::uint64_t seed = 0;
  std::string comm_token;  ///< secret of this incarnation: strangers cannot enter the ring
  std::optional<lora_config> lora = std::nullopt;
  std::uint32_t shard_size = 0;  ///< as in create_run_request
  bool operator==(const open_shard_request&) const = default;
};

struct open_shard_reply {
  std::string comm_address;  ///< host:port; empty for a single rank
  bool operator==(const open_shard_reply&) const = default;
};

/// Second step of forming a set: all addresses are known, connect and load.
struct start_shard_request {
  shard_identity identity;
  std::vector<std::string> comm_addresses;  ///< by rank
  std::vector<checkpoint_record> resume;    ///< one training checkpoint to load; empty: the model
  checkpoint_id published;                  ///< last sampler checkpoint, to diff the next against
  std::vector<checkpoint_record> published_chain;  ///< its chain, oldest first; may be empty
  bool operator==(const start_shard_request&) const = default;
};

struct start_shard_reply {
  model_config model;
  state_digest weights;  ///< of this rank's slices; the set's digest is the sum
  bool operator==(const start_shard_reply&) const = default;
};

// -- work, by op. `seq_id` orders it; all ranks get the same order. ----------------------------

struct shard_forward {
  std::vector<datum> batch;  ///< this rank's datums; may be empty
  retention keep = retention::discard;
  forward_details details = {};
  bool operator==(const shard_forward&) const = default;
};

struct shard_forward_backward {
  std::vector<datum> batch;
  loss_fn loss = loss_fn::cross_entropy;
  loss_fn_config config;
  bool operator==(const shard_forward_backward&) const = default;
};

struct shard_backward {
  std::uint64_t forward_seq_id = 0;
  std::vector<std::vector<float>> logprob_gradients;  ///< for this rank's datums of the forward
  bool operator==(const shard_backward&) const = default;
};

struct shard_optim_step {
  adam_params adam;
  std::uint64_t step = 0;  ///< number this step will have
  bool operator==(const shard_optim_step&) const = default;
};

/// Writes this rank's slices of weights and moments as blobs.
struct shard_save_state {
  bool operator==(const shard_save_state&) const = default;
};

struct shard_load_state {
  checkpoint_record checkpoint;
  optimizer_state optimizer = optimizer_state::restore;
  bool operator==(const shard_load_state&) const = default;
};

/// Writes this rank's slices in bf16, whole or as changes against the last published state. The
/// published state moves on only when `shard_published` confirms the commit.
struct shard_save_weights {
  checkpoint_kind kind = checkpoint_kind::sampler_base;
  bool operator==(const shard_save_weights&) const = default;
};

struct shard_published {
  checkpoint_id checkpoint;
  bool operator==(const shard_published&) const = default;
};

/// First half of a snapshot: copies this rank's slices aside, so that training can go on. A copy
/// that was not written yet is replaced.
struct shard_capture_state {
  bool operator==(const shard_capture_state&) const = default;
};

/// Second half: writes the copy as a blob, beside other work.
struct shard_write_captured {
  bool operator==(const shard_write_captured&) const = default;
};

using shard_body =
    std::variant<shard_forward, shard_forward_backward, shard_backward, shard_optim_step,
                 shard_save_state, shard_load_state, shard_save_weights, shard_published,
                 shard_capture_state, shard_write_captured>;

struct shard_work {
  shard_identity identity;
  std::uint64_t seq_id = 0;
  shard_body body;
  std::uint64_t number = 0;  ///< of this work in its incarnation, from 1: tells a repetition
  bool operator==(const shard_work&) const = default;
};

/// Answer of one rank. Fields that its work does not produce stay empty.
struct shard_work_reply {
  shard_identity identity;
  std::uint64_t seq_id = 0;
  std::vector<std::vector<float>> logprobs;  ///< forward, forward_backward: by datum of the part
  metric_list metrics;
  state_digest weights;                     ///< fp32 master slices after the work
  state_digest published_before;            ///< save_weights: bf16 slices last published
  state_digest published;                   ///< save_weights: bf16 slices just written
  std::vector<checkpoint_file> files;       ///< durable blobs just written
  std::vector<float> probe_logprobs;        ///< save_weights, rank 0: as in checkpoint_manifest
  std::vector<datum_details> details = {};  ///< forward: by datum of the part, when asked for
  bool operator==(const shard_work_reply&) const = default;
};

struct close_shard_request {
  shard_identity identity;
  bool operator==(const close_shard_request&) const = default;
};

/// To a node agent: host a replica of a deployment.
struct open_sampler_request {
  deployment_id deployment;
  model_source model;
  bool operator==(const open_sampler_request&) const = default;
};

}  // namespace troupe
