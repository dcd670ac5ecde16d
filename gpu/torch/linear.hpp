#pragma once

// The three products of a linear layer, y = x W^T, over all packed rows at once.
//
// Shapes: x [T, K], W [N, K], y [T, N].
// Threading: called from one thread; runs on the pool.
// Invariants: LINEAR-1 a row of the result depends on that row and on W only.

#include "gpu/torch/product.hpp"
#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {

[[nodiscard]] at::Tensor linear(const at::Tensor& x, const at::Tensor& weight);

/// residual + x W^T, in one pass.
[[nodiscard]] at::Tensor linear_add(const at::Tensor& x, const at::Tensor& weight,
                                    const at::Tensor& residual);

/// y = x W^T into memory that is there.
void linear_into(const at::Tensor& x, const at::Tensor& weight, at::Tensor y);

/// y += x W^T.
void linear_add_into(const at::Tensor& x, const at::Tensor& weight, at::Tensor y);

[[nodiscard]] at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& weight);

/// dx = dy W into memory that is there.
void linear_input_gradient_into(const at::Tensor& dy, const at::Tensor& weight, at::Tensor dx);

void linear_weight_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor gradient,
                            write_mode mode);

}  // namespace troupe::gpu
