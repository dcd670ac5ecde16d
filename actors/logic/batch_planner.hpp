#pragma once

// Which rank works on which datum of a batch: balanced by tokens, and the same plan for the same
// batch and world size on every machine, because a replay must repeat it.
//
// Method: longest first onto the least loaded rank (LPT, Graham 1969), ties by position and rank;
// inside a rank datums keep the order of the batch.
// Threading: pure functions.
// Invariants: PLAN-1 every datum is on exactly one rank. PLAN-2 no rank holds more than the mean
//             plus the longest datum.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "messages/training.hpp"

namespace troupe::logic {

/// Positions in the batch, by rank, each ascending. A rank may be empty.
using batch_plan = std::vector<std::vector<std::size_t>>;

[[nodiscard]] batch_plan plan_batch(std::span<const std::size_t> num_tokens,
                                    std::uint32_t world_size);

[[nodiscard]] batch_plan plan_batch(std::span<const datum> batch, std::uint32_t world_size);

/// The elements of `items` that a rank works on.
template <class T>
[[nodiscard]] std::vector<T> take_part(const std::vector<T>& items,
                                       const std::vector<std::size_t>& positions) {
  std::vector<T> part;
  part.reserve(positions.size());
  for (const std::size_t position : positions)
    part.push_back(items[position]);
  return part;
}

}  // namespace troupe::logic
