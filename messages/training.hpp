#pragma once

// The operations a loop may ask of a training run, and their results. The names are Tinker's:
// forward, forward_backward, optim_step, save_state, load_state, save_weights_for_sampler; and
// `backward`, the second phase of forward_backward_custom.
//
// Shapes: a datum has N positions and K targets for each, mostly one; position i reads tokens[0..i]
// and is scored on target_tokens[i K .. i K + K). What is said per target has N K numbers.
// Units: losses are plain sums over positions and datums, in nats.
// Threading: plain values.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/likeliest.hpp"
#include "messages/model.hpp"

namespace troupe {

/// One sequence to train on: N >= 1 tokens, N K targets with 1 <= K <= targets_per_position_max,
/// all of a position's one after the other. The other inputs are as long as target_tokens, or
/// empty where the loss does not use them.
struct datum {
  std::vector<token_id> tokens;
  std::vector<token_id> target_tokens;
  std::vector<float> weights;     ///< cross_entropy: weight of each position
  std::vector<float> logprobs;    ///< all others: logprobs under the sampling policy
  std::vector<float> advantages;  ///< all others: advantage of each position
  /// gspo: 1 where a position counts for the ratio of its sequence; empty: where advantages are
  /// not 0.
  std::vector<float> sequence_ratio_mask = {};
  /// Losses that clip: bounds of each position, in place of the loss's options; empty: those.
  std::vector<float> clip_low_thresholds = {};
  std::vector<float> clip_high_thresholds = {};

  bool operator==(const datum&) const = default;
};

enum class loss_fn : std::uint8_t {
  cross_entropy = 0,
  importance_sampling = 1,
  ppo = 2,
  cispo = 3,
  dro = 4,
  dapo = 5,
  gspo = 6,
};

/// Options of a loss by Tinker's key, e.g. {"clip_low_threshold", 0.8}.
using loss_fn_config = std::vector<std::pair<std::string, double>>;

/// What accumulated gradients are divided by, before clipping: positions whose gradient was not
/// zero, or sequences that had any, over all calls and ranks since the last step.
enum class gradient_normalization : std::uint8_t {
  none = 0,
  num_loss_tokens = 1,
  num_sequences = 2,
};

struct adam_params {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-12;
  double weight_decay = 0.0;
  double grad_clip_norm = 0.0;  ///< 0: no clipping
  gradient_normalization normalization = gradient_normalization::none;

  bool operator==(const adam_params&) const = default;
};

/// Whether a forward keeps what its backward will need.
enum class retention : std::uint8_t { discard = 0, keep_for_backward = 1 };

/// Which final hidden states a forward tells: those behind the last norm, which the head reads. Of
/// a datum's last position, their mean over its positions, or all of them.
enum class embedding_kind : std::uint8_t { none = 0, last = 1, mean = 2, per_token = 3 };

/// What a forward tells beside the logprobs of its targets.
struct forward_details {
  std::uint32_t topk_logprobs = 0;  ///< likeliest tokens to name at each position
  bool entropy = false;             ///< of the distribution at each position
  embedding_kind embedding = embedding_kind::none;

  [[nodiscard]] bool any() const { return *this != forward_details{}; }
  bool operator==(const forward_details&) const = default;
};

/// Per-token logprobs of a batch. With keep_for_backward the pass stays open under its own seq_id
/// until one `backward` consumes it or an optim_step or load_state ends its weights.
struct forward_op {
  std::vector<datum> batch;
  retention keep = retention::discard;
  forward_details details = {};
  bool operator==(const forward_op&) const = default;
};

struct forward_backward_op {
  std::vector<datum> batch;
  loss_fn loss = loss_fn::cross_entropy;
  loss_fn_config config;
  bool operator==(const forward_backward_op&) const = default;
};

/// Second phase of a custom loss: adds d(loss)/d(parameters) given d(loss)/d(logprobs) for each
/// datum of the forward with `forward_seq_id`, in its order and lengths.
struct backward_op {
  std::uint64_t forward_seq_id = 0;
  std::vector<std::vector<float>> logprob_gradients;
  bool operator==(const backward_op&) const = default;
};

struct optim_step_op {
  adam_params adam;
  bool operator==(const optim_step_op&) const = default;
};

/// Writes a training checkpoint: fp32 weights and optimizer state, resumable on any world size.
struct save_state_op {
  std::string name;
  bool operator==(const save_state_op&) const = default;
};

enum class optimizer_state : std::uint8_t { reset = 0, restore = 1 };

struct load_state_op {
  checkpoint_id checkpoint;
  optimizer_state optimizer = optimizer_state::restore;
  bool operator==(const load_state_op&) const = default;
};

enum class publish_kind : std::uint8_t { automatic = 0, base = 1, delta = 2 };

/// Writes a sampler checkpoint in bf16: a base, or a delta against the last published one.
struct save_weights_op {
  std::string name;
  publish_kind kind = publish_kind::automatic;
  bool operator==(const save_weights_op&) const = default;
};

using op_body = std::variant<forward_op, forward_backward_op, backward_op, optim_step_op,
                             save_state_op, load_state_op, save_weights_op>;

/// One client operation. Identity is (run, seq_id); a repeat with the same body gets the stored
/// result, a repeat with another body errc::seq_reused. seq_id starts at 1.
struct op_request {
  run_id run;
  std::uint64_t client_epoch = 0;
  std::uint64_t seq_id = 0;
  op_body body;
  std::string cursor;  ///< opaque <= 4 KiB, stored with the op: where the loop stands in its data
  bool operator==(const op_request&) const = default;
};

/// Named numbers of an op. The suffix says how ranks were merged: ":sum", ":max", ":mean".
using metric_list = std::vector<std::pair<std::string, double>>;

/// What a forward told of one datum; what was not asked for is empty.
struct datum_details {
  likeliest_tokens topk = {};         ///< at each of its N positions
  std::vector<float> entropies = {};  ///< [N], in nats
  std::vector<float> embedding = {};  ///< [hidden size], or [N, hidden size] row-major
  bool operator==(const datum_details&) const = default;
};

struct forward_result {
  std::vector<std::vector<float>> logprobs;  ///< per datum, of target_tokens
  metric_list metrics;
  std::vector<datum_details> details = {};  ///< per datum; empty when none were asked for
  bool operator==(const forward_result&) const = default;
};

struct backward_result {
  metric_list metrics;
  bool operator==(const backward_result&) const = default;
};

struct optim_step_result {
  std::uint64_t step = 0;  ///< committed optim_steps of the run, this one included
  state_digest weights;    ///< of the fp32 master weights after the step
  metric_list metrics;     ///< "grad_norm:max", divided as the gradients were, before clipping
  bool operator==(const optim_step_result&) const = default;
};

struct checkpoint_result {
  checkpoint_id checkpoint;
  std::uint64_t step = 0;
  std::uint64_t bytes = 0;
  bool is_delta = false;
  bool operator==(const checkpoint_result&) const = default;
};

struct load_state_result {
  std::uint64_t step = 0;
  state_digest weights;
  bool operator==(const load_state_result&) const = default;
};

/// forward and forward_backward answer forward_result; save_state and save_weights_for_sampler
/// answer checkpoint_result.
using op_output = std::variant<forward_result, backward_result, optim_step_result,
                               checkpoint_result, load_state_result>;

struct op_reply {
  std::uint64_t seq_id = 0;
  op_output output;
  bool operator==(const op_reply&) const = default;
};

// -- runs ------------------------------------------------------------------------------------

struct create_run_request {
  std::string name;  ///< valid name, unique in the cluster; empty: one is made up
  model_source model;
  std::uint32_t world_size = 1;
  std::uint64_t seed = 0;
  std::uint64_t snapshot_every_steps = 0;          ///< 0: the cluster's default
  std::optional<lora_config> lora = std::nullopt;  ///< none: every parameter is trained
  /// Whose it is: on a node that several tenants use, each has one op at a time. A valid name, or
  /// empty.
  std::string tenant = {};
  /// Ranks that share one copy of the state; a divisor of world_size, which holds as many copies as
  /// it has such groups. 0: all ranks share one.
  std::uint32_t shard_size = 0;
  bool operator==(const create_run_request&) const = default;
};

/// Takes over a run: raises client_epoch, so that an older client is fenced.
struct attach_run_request {
  run_id run;
  bool operator==(const attach_run_request&) const = default;
};

/// A parked run has given its nodes back; its next op brings it up again. A rolled back one has
/// lost ops for good and does nothing until somebody acknowledged that.
enum class run_phase : std::uint8_t {
  starting = 0,
  ready = 1,
  recovering = 2,
  failed = 3,
  parked = 4,
  rolled_back = 5,
};

struct run_info {
  run_id run;
  run_phase phase = run_phase::starting;
  model_config model;
  std::string model_directory;
  std::uint32_t world_size = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t client_epoch = 0;
  std::uint64_t next_seq_id = 1;  ///< the number the client uses next
  std::uint64_t committed_seq_id = 0;
  std::uint64_t step = 0;
  state_digest weights;           ///< after the last committed step
  checkpoint_id last_checkpoint;  ///< last training checkpoint
  std::string cursor;             ///< of the last committed op that carried one
  std::string detail;             ///< why it is not ready, for people
  bool operator==(const run_info&) const = default;
};

struct run_status_request {
  run_id run;
  bool operator==(const run_status_request&) const = default;
};

/// Gives the run's nodes back. Nothing is lost: its next op brings it up again.
struct park_run_request {
  run_id run;
  bool operator==(const park_run_request&) const = default;
};

/// Says that the loop knows about the rollback and starts again from the cursor of run_info.
struct acknowledge_rollback_request {
  run_id run;
  bool operator==(const acknowledge_rollback_request&) const = default;
};

enum class run_event_kind : std::uint8_t {
  started = 0,
  shard_lost = 1,
  recovering = 2,
  resumed = 3,
  snapshot = 4,
  failed = 5,
  parked = 6,
  quarantined = 7,   ///< an op that broke its shards too often was given up
  rolled_back = 8,   ///< ops after to_seq_id are void; waits for an acknowledgement
  acknowledged = 9,  ///< somebody read that; the run goes on from there
  leaving = 10,      ///< a node said that it will go; the run moves after a snapshot
};

struct run_event {
  std::uint64_t number = 0;  ///< 1, 2, ... within the run since the control node started
  std::uint64_t unix_time_ms = 0;
  run_event_kind kind = run_event_kind::started;
  std::uint64_t seq_id = 0;        ///< last committed op at that moment
  std::uint64_t ops_replayed = 0;  ///< resumed: ops applied again
  double seconds = 0;              ///< resumed: from loss to ready
  bool bit_exact = true;           ///< resumed: every replayed result equals the journal
  std::string detail;
  std::uint64_t to_seq_id = 0;  ///< rolled_back: last op that still counts
  std::uint64_t to_step = 0;    ///< rolled_back: committed steps that still count
  std::string cursor;           ///< rolled_back: of the last op that still counts and had one
  bool operator==(const run_event&) const = default;
};

struct run_events_request {
  run_id run;
  std::uint64_t after_number = 0;
  bool operator==(const run_events_request&) const = default;
};

struct run_events_reply {
  std::vector<run_event> events;
  bool operator==(const run_events_reply&) const = default;
};

/// Kept with the run's records: what was shown once is shown again by the next control node.
struct keep_event_request {
  run_id run;
  run_event event;
  bool operator==(const keep_event_request&) const = default;
};

}  // namespace troupe
