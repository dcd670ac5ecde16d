#pragma once

// Ranks in error sentences: "rank 2" or "ranks 1, 3".
//
// Threading: pure functions.

#include <cstdint>
#include <span>
#include <string>

namespace troupe::gpu {

[[nodiscard]] inline std::string rank_names(std::span<const std::uint32_t> ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

}  // namespace troupe::gpu
