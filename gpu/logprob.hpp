#pragma once

// The logprob of a logit, in one place because of its edges.
//
// Threading: pure functions.

#include <algorithm>

namespace troupe::gpu {

/// `lse` is the log-sum-exp of all logits. Rounding may put a logit a hair above it; NaN stays NaN,
/// so that damaged weights never look like certainty.
[[nodiscard]] inline float logprob_of(float logit, float lse) {
  return std::min(logit - lse, 0.0F);
}

}  // namespace troupe::gpu
