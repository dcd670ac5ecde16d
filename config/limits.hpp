#pragma once

// Every bound of the system, with its reason. A bound that follows from another is derived here and
// the relation is proved by a static_assert.
//
// Units: in the names. Threading: constants.

#include <cstddef>
#include <cstdint>

namespace troupe::limits {

inline constexpr std::size_t mebibyte = 1024 * 1024;

/// One message between nodes. CAF moves its liveness clock only on complete messages: at the
/// slowest supported link (40 MB/s) a frame must pass in a fraction of the node timeout.
inline constexpr std::size_t frame_bytes_max = 8 * mebibyte;

/// A piece of a blob in flight; small enough that control messages pass between two pieces.
inline constexpr std::size_t blob_chunk_bytes = 1 * mebibyte;

/// Values larger than this live in blob files: they would pass RocksDB's WAL twice.
inline constexpr std::size_t inline_value_bytes_max = 64 * 1024;

inline constexpr std::size_t batch_datums_max = 1024;
inline constexpr std::size_t datum_tokens_max = 262'144;

/// Targets of one position, as distillation from a teacher's likeliest tokens has them; all of a
/// datum's together are at most datum_tokens_max.
inline constexpr std::size_t targets_per_position_max = 256;
inline constexpr std::size_t loss_config_entries_max = 32;
inline constexpr std::size_t metrics_max = 256;
inline constexpr std::size_t cursor_bytes_max = 4096;
inline constexpr std::size_t name_bytes_max = 128;
inline constexpr std::size_t path_bytes_max = 4096;
inline constexpr std::size_t error_text_bytes_max = 8192;

inline constexpr std::uint32_t world_size_max = 64;
inline constexpr std::uint32_t samples_per_request_max = 256;
inline constexpr std::uint32_t sample_tokens_max = 65'536;
inline constexpr std::size_t stop_tokens_max = 256;
inline constexpr std::size_t stop_text_bytes_max = 1024;

/// Likeliest tokens named at one position, and in one answer: half a frame.
inline constexpr std::uint32_t topk_logprobs_max = 128;
inline constexpr std::size_t topk_cells_max = 512 * 1024;
static_assert(topk_cells_max * 8 <= frame_bytes_max / 2);

/// Weight versions that one sequence can span: one a second for as long as a request may last.
inline constexpr std::size_t version_spans_max = 1024;
inline constexpr std::size_t nodes_max = 256;
inline constexpr std::uint32_t node_slots_max = 256;  ///< adapter runs on one trainer node
inline constexpr std::size_t runs_max = 4096;
inline constexpr std::size_t deployments_max = 256;
inline constexpr std::uint32_t replicas_max = 64;

/// Positions at which the sampler's logprobs are compared with the trainer's at every sync.
inline constexpr std::size_t probe_tokens_max = 64;
inline constexpr std::size_t checkpoint_files_max = 4096;
inline constexpr std::size_t checkpoint_chain_max = 256;
inline constexpr std::size_t checkpoint_list_max = 16'384;

/// What a run shows of its past, and the words of one line: all of it in one frame.
inline constexpr std::size_t run_events_max = 4096;
inline constexpr std::size_t run_event_text_bytes_max = 1024;
static_assert(run_events_max * (run_event_text_bytes_max + 512) <= frame_bytes_max);

/// Ops a client may send ahead of the next expected seq_id, and their payload.
inline constexpr std::size_t ops_buffered_max = 64;
inline constexpr std::size_t ops_buffered_bytes_max = 64 * mebibyte;

/// Outcomes a run keeps to answer repeats; more than a client may have unanswered.
inline constexpr std::size_t op_outcomes_kept_max = 1024;

/// Lines kept of a deployment's ledger: months of syncs, megabytes of database.
inline constexpr std::uint64_t ledger_entries_max = 16'384;

/// Lines of a ledger that one answer shows.
inline constexpr std::size_t ledger_page_max = 1024;

/// A delta chain longer than this makes a catch-up slower than reading a base.
inline constexpr std::uint32_t delta_depth_max = 32;

/// Every so many deltas of a chain are folded into one file, so that a catch-up reads a base, a
/// folded delta and fewer than this many more.
inline constexpr std::uint32_t fold_every_deltas = 4;
static_assert(delta_depth_max % fold_every_deltas == 0, "the longest chain ends in a fold");

/// Deltas of a chain may have this part of their base's bytes, in hundredths. Late readers go
/// through folds; it is the disk, the folding and a reader whose fold is damaged that pay for more.
inline constexpr std::uint64_t chain_bytes_percent = 200;

/// Sequences a sampler decodes together, and those that wait behind them.
inline constexpr std::size_t sampler_active_max = 256;
inline constexpr std::size_t sampler_waiting_max = 4096;

/// Open forwards that wait for their backward. How much each holds is a question of bytes; the
/// last thing one gives up are its tokens.
inline constexpr std::size_t kept_forwards_max = 64;

inline constexpr std::size_t safetensors_header_bytes_max = 8 * mebibyte;
inline constexpr std::size_t safetensors_tensors_max = 65'536;
inline constexpr std::size_t tensor_name_bytes_max = 256;
inline constexpr std::size_t tensor_rank_max = 8;

/// config.json of a model, and each file copied beside exported weights: tokenizers of large
/// vocabularies have some 20 MB.
inline constexpr std::size_t model_config_bytes_max = 1 * mebibyte;
inline constexpr std::size_t model_companion_file_bytes_max = 128 * mebibyte;

/// Largest models this build accepts; products of two of these fit 40 bits, the width of an element
/// index in state digests.
inline constexpr std::uint64_t model_vocab_max = 1'048'576;
inline constexpr std::uint64_t model_width_max = 131'072;
inline constexpr std::uint64_t model_layers_max = 512;
inline constexpr std::uint64_t model_heads_max = 256;
inline constexpr std::uint64_t model_head_dim_max = 512;
inline constexpr std::uint64_t model_experts_max = 1024;
inline constexpr std::uint64_t model_positions_max = 16'777'216;
static_assert(model_vocab_max * model_width_max <= std::uint64_t{1} << 40);
static_assert(model_heads_max * model_head_dim_max <= model_width_max);

/// GPUs of one machine.
inline constexpr std::uint32_t gpus_max = 64;

/// Activations one batch may keep for its backward, and logits among them; a larger batch keeps
/// the inputs of its blocks only and computes the rest again. All open forwards together hold no
/// more than one batch may.
inline constexpr std::size_t kept_activation_bytes_max = 4096 * mebibyte;
inline constexpr std::size_t kept_logit_bytes_max = 256 * mebibyte;

/// Gradients of a model up to this size are kept whole on each rank between passes, so that a step
/// of many passes sums them over ranks once. A constant: the bits of a step depend on it.
inline constexpr std::size_t whole_gradient_bytes_max = 1024 * mebibyte;

/// What one batch may need at the least, inputs of its blocks and one block's work: half of a
/// machine of the supported kind. A larger one is refused before it starts.
inline constexpr std::size_t batch_activation_bytes_max = 16'384 * mebibyte;
static_assert(kept_activation_bytes_max < batch_activation_bytes_max);

/// Freed tensors that stay with the process: the working set of a small model's step.
inline constexpr std::size_t reused_tensor_bytes_max = 1024 * mebibyte;

/// Keys and values of all sequences a sampler decodes together.
inline constexpr std::size_t sampler_cache_bytes_max = 8192 * mebibyte;

/// Secret that ranks show each other when they meet.
inline constexpr std::size_t comm_token_bytes_max = 256;

/// A cluster file, a line of training data and a whole data file, before they are parsed.
inline constexpr std::size_t config_file_bytes_max = 1 * mebibyte;
inline constexpr std::size_t data_line_bytes_max = 64 * mebibyte;
inline constexpr std::size_t data_rows_max = 10'000'000;

/// Threads of the maths library in one process.
inline constexpr std::uint32_t node_threads_max = 1024;

static_assert(ops_buffered_bytes_max >= frame_bytes_max, "one op must fit into the buffer");
static_assert(op_outcomes_kept_max > ops_buffered_max, "a repeat must find its outcome");
static_assert(delta_depth_max + 1 <= checkpoint_chain_max, "a chain is a base and its deltas");

/// One client op. It comes back from the log together with its reply, which for a forward is half
/// as long again, and both must fit into one frame.
inline constexpr std::size_t op_bytes_max = 5 * mebibyte;
static_assert(op_bytes_max + op_bytes_max / 2 + mebibyte / 4 <= frame_bytes_max);

/// Numbers that the reply of one op tells of its batch: logprobs of targets, and the details that
/// a forward was asked for.
inline constexpr std::size_t answer_numbers_max = op_bytes_max / 2 / 4;

/// Ops in one page of a run's log.
inline constexpr std::uint32_t log_page_ops_max = 1024;

inline constexpr std::size_t join_token_bytes_max = 256;
inline constexpr std::size_t address_bytes_max = 512;

/// One HTTP request: a client sends up to 5 MB per chunk, but a single datum is never split.
inline constexpr std::size_t http_body_bytes_max = 256 * mebibyte;
inline constexpr std::size_t http_header_bytes_max = 64 * 1024;
inline constexpr std::size_t http_connections_max = 16'384;
inline constexpr std::size_t json_depth_max = 32;
inline constexpr std::size_t user_metadata_bytes_max = 64 * 1024;
inline constexpr std::uint64_t weights_ttl_seconds_max = 10ULL * 366 * 24 * 3600;
inline constexpr std::size_t weights_file_bytes_max = 64 * mebibyte;
inline constexpr std::uint64_t lora_rank_max = 1024;

/// What the gateway keeps of clients that never come back.
inline constexpr std::size_t gateway_sessions_max = 4096;
inline constexpr std::size_t gateway_keys_max = 4096;
inline constexpr std::size_t gateway_futures_max = 262'144;

/// Sample requests that may be under way before the gateway says "full".
inline constexpr std::size_t gateway_samples_max = 4096;

/// Keys and values of prompts that a sampler keeps for later ones, as a part of its whole cache.
inline constexpr std::size_t sampler_prefix_bytes_max = 1024 * mebibyte;
static_assert(sampler_prefix_bytes_max < sampler_cache_bytes_max);

/// Low-rank adapters that a sampler holds beside its weights. Idle ones make room for others.
inline constexpr std::size_t sampler_adapter_bytes_max = 1024 * mebibyte;
inline constexpr std::size_t sampler_adapters_max = 1024;

/// Tokens in one piece of a stream, and those a sampler decodes ahead of a stream's reader: with
/// the likeliest tokens of each, an eighth of a frame and half of one.
inline constexpr std::size_t stream_chunk_tokens_max = 1024;
inline constexpr std::size_t stream_ahead_tokens_max = 4096;
static_assert(stream_chunk_tokens_max * topk_logprobs_max * 8 <= frame_bytes_max / 8);
static_assert(stream_chunk_tokens_max >= samples_per_request_max);

/// Prompt tokens a sampler computes in one step beside its decoding: they delay every token that
/// is being decoded.
inline constexpr std::size_t sampler_prefill_rows_max = 512;

}  // namespace troupe::limits
