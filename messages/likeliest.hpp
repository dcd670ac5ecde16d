#pragma once

// The likeliest tokens at each of a row of positions: beside samples, prompts and forward passes.
//
// Threading: plain values.

#include <cstdint>
#include <vector>

#include "messages/ids.hpp"

namespace troupe {

/// Best first: `per_position` for each of them.
struct likeliest_tokens {
  std::uint32_t per_position = 0;
  std::vector<token_id> tokens;
  std::vector<float> logprobs;  ///< same length as tokens
  bool operator==(const likeliest_tokens&) const = default;
};

}  // namespace troupe
