#pragma once

// Numbers that an engine takes in or gives out must be finite: a NaN spreads through weights in one
// step and cannot be told from a result by who reads it.
//
// Threading: pure functions. Errors: errc::not_finite, which says where to look.

#include <span>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

/// Of a loss and its gradient, before anything is added.
[[nodiscard]] result<void> check_loss_finite(std::span<const float> gradient, double loss);

/// Of what a model computed: its inputs are tokens, so its weights are at fault.
[[nodiscard]] result<void> check_outputs_finite(const forward_result& outputs);

}  // namespace troupe::gpu
