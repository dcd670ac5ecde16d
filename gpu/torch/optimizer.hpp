#pragma once

// AdamW over a rank's flat shards, in one pass with gradient clipping: the numbers of
// torch.optim.AdamW after torch.nn.utils.clip_grad_norm_. The norm is taken over all ranks in
// double, and doubles as the test that every gradient is finite.
//
// Threading: one thread. Errors: errc::invalid_argument for impossible parameters,
// errc::not_finite on all ranks alike; both leave weights and moments as they were.
// Source: Loshchilov, Hutter 2019.

#include "gpu/torch/sharded_state.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

[[nodiscard]] result<void> check_adam(const adam_params& adam);

struct updated_state {
  double gradient_norm = 0;  ///< of all ranks, over the divisor, before clipping
  state_digest weights;      ///< as digest_weights
};

/// `step` counts from 1.
[[nodiscard]] result<updated_state> adamw_step(sharded_state& state, const adam_params& adam,
                                               std::uint64_t step, double divisor);

/// Sum of element digests of all owned weights.
[[nodiscard]] state_digest digest_weights(const sharded_state& state);

}  // namespace troupe::gpu
