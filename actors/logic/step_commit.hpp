#pragma once

// One op on its way through the ranks: splits it into work per rank, merges the ranks' answers in
// rank order, and says whether a set of answers is the one that the journal knows.
//
// Threading: pure functions and plain values.
// Errors: errc::internal when answers do not fit the work (a rank answered for another op).
// Invariants: COMMIT-1 merging is in rank order, so the bits do not depend on arrival.
//             COMMIT-2 an op commits only when every rank has prepared it.

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "actors/logic/batch_planner.hpp"
#include "messages/error.hpp"
#include "messages/shard.hpp"
#include "messages/training.hpp"

namespace troupe::logic {

/// Work by rank, and the plan by which answers go back to the batch's order.
struct split_op {
  std::vector<shard_body> bodies;
  batch_plan plan;
};

/// `forward_plan` is the plan of the forward that a backward belongs to; unused otherwise.
/// errc::invalid_argument when a backward's gradients do not fit it.
[[nodiscard]] result<split_op> split(const op_body& body, std::uint32_t world_size,
                                     std::uint64_t next_step, const batch_plan& forward_plan);

struct merged_reply {
  std::vector<std::vector<float>> logprobs;  ///< in the batch's order
  metric_list metrics;
  state_digest weights;
  state_digest published_before;
  state_digest published;
  std::vector<checkpoint_file> files;
  std::vector<float> probe_logprobs;   ///< of rank 0
  std::vector<datum_details> details;  ///< in the batch's order
};

[[nodiscard]] result<merged_reply> merge(const std::vector<shard_work_reply>& ranks,
                                         const batch_plan& plan, std::uint64_t seq_id);

/// errc::invalid_argument when the answer to an op would be too large for the model's hidden size.
[[nodiscard]] result<void> check_answer(const op_body& body, const model_config& model);

/// The value of that name; 0: there is none.
[[nodiscard]] double metric(const metric_list& metrics, std::string_view name);

/// Whether an op changes weights, gradients or kept forwards, so that a replay must repeat it.
[[nodiscard]] bool changes_state(const op_body& body);

/// False for an op whose data was trimmed from the log: it cannot be repeated any more.
[[nodiscard]] bool has_payload(const op_body& body);

/// True when a replayed answer equals the journalled one bit for bit.
[[nodiscard]] bool same_outcome(const op_output& journalled, const op_output& replayed);

}  // namespace troupe::logic
