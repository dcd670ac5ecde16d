#pragma once

// Supervised fine-tuning: a worked example of a loop. It walks over the rows in a seeded order and
// takes one step per batch; copy it and change what you need.
//
// Every operation carries the loop's cursor, which the run keeps with it in one write. So the loop
// itself may be killed at any moment: started again with the same options on the same run it begins
// behind the last operation that was done, and ends at the weights of a loop that lived.
//
// Units: the loss shown is nats per trained token.
// Threading: blocks its thread. Errors: the first one ends the loop; finished steps stay.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/client/training_client.hpp"

namespace troupe::loops {

struct sft_options {
  std::uint64_t steps = 100;
  std::size_t batch_size = 32;
  double learning_rate = 1e-3;
  double grad_clip_norm = 1.0;
  std::uint64_t seed = 0;
};

struct sft_progress {
  std::uint64_t step = 0;      ///< 1, 2, ... of this loop
  std::optional<double> loss;  ///< an earlier loop's, when it was killed before its step
  state_digest weights;
};

/// Told after each step; an error ends the loop with it.
using sft_observer = std::function<result<void>(const sft_progress&)>;

/// Where a loop goes on: behind so many whole steps, or between the two operations of the next.
struct sft_cursor {
  std::uint64_t steps = 0;
  bool has_passed = false;
};

[[nodiscard]] std::string to_string(const sft_cursor& cursor);
/// The beginning for an empty one; errc::invalid_argument for that of another loop.
[[nodiscard]] result<sft_cursor> parse_sft_cursor(const std::string& text);

/// Goes on from the cursor of the run, which is empty for a new one.
[[nodiscard]] result<void> run_sft(client::training_client& training,
                                   const std::vector<datum>& rows, const sft_options& options,
                                   const sft_observer& observe);

}  // namespace troupe::loops
