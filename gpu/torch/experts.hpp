#pragma once

// The inner layer of a block as many small ones: each row goes through the few experts its router
// picked, and their weighted outputs are added to the residual. A pick's weight multiplies what
// enters the expert's last product, which is the same sum, so that the backward of the product
// already gives what the weight's gradient needs and no expert's output is kept.
//
// Shapes: T rows, S places (routing.hpp), D model, I width of an expert.
// Threading: called from one thread; runs on the pool.
// Invariants: EXPERT-1 a row of the result depends on that row and on the weights only.
// Source: transformers, models/qwen3_moe; Shazeer et al. 2017.

#include <span>
#include <vector>

#include "gpu/torch/projection.hpp"
#include "gpu/torch/routing.hpp"

namespace troupe::gpu {

/// One expert's parameters, or with the same layout their gradients.
struct expert_tensors {
  projection gate_up;  ///< [2 I, D]
  projection down;     ///< [D, I]
};

struct expert_layer {
  at::Tensor router;  ///< [E, D]; undefined among gradients when frozen
  std::vector<expert_tensors> experts;
};

/// What the backward of an expert layer needs.
struct expert_state {
  routing choice;
  at::Tensor gate_up;  ///< [S, 2 I]
};

/// residual + the layer's output for x [T, D].
[[nodiscard]] at::Tensor experts_forward(const expert_config& config, const expert_layer& layer,
                                         const at::Tensor& x, const at::Tensor& residual,
                                         expert_state& state);

/// Gradient of x, without the residual's. Uses up `state`.
[[nodiscard]] at::Tensor experts_backward(const expert_config& config, const expert_layer& layer,
                                          const at::Tensor& x, const at::Tensor& dy,
                                          expert_state& state, const expert_layer& gradients,
                                          write_mode mode);

}  // namespace troupe::gpu
