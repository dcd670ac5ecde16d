#pragma once

// The likeliest tokens of a row of logits, for answers that name alternatives. Ties go to the lower
// token, so an answer can be made again.
//
// Threading: pure functions.

#include <cstdint>
#include <span>

#include "messages/likeliest.hpp"

namespace troupe::gpu {

/// Appends the `wanted` likeliest tokens of one position; fewer where the vocabulary is smaller.
/// `lse` is the log of the sum of exponentials of `logits`. Requires: the same `wanted` and
/// vocabulary for every position of `out`.
void append_likeliest(std::span<const float> logits, float lse, std::uint32_t wanted,
                      likeliest_tokens& out);

}  // namespace troupe::gpu
