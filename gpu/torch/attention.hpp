#pragma once

// Grouped-query causal attention over packed sequences, with the norms and rotations of queries and
// keys that precede it. Tasks are (sequence, key head): each owns its outputs, so threads share
// nothing and short sequences keep them busy as well as long ones.
//
// Shapes: qkv [T, (N + 2 K) H]: queries of N heads, then keys and values of K; out [T, N H];
// rotated [T, (N + K) H]; lse [T, N]. Source: Dao et al. 2022.
// Threading: called from one thread; runs on the pool.

#include <vector>

#include "gpu/rotary.hpp"
#include "gpu/torch/packed_batch.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

struct rotated_heads {
  at::Tensor heads;  ///< [T, (N + K) H]
  at::Tensor rstd;   ///< [T, N + K]; undefined without norms
};

/// Undefined norms: the family has none and heads are only rotated.
/// Requires: `rotary` covers the longest sequence.
[[nodiscard]] rotated_heads norm_and_rotate(const model_config& model, const packed_batch& batch,
                                            const rotary_cache& rotary, const at::Tensor& qkv,
                                            const at::Tensor& q_norm, const at::Tensor& k_norm);

/// The query and key parts of `gradient`, which is laid out as qkv, become those before the norms.
/// Undefined norm gradients are not wanted.
void norm_and_rotate_backward(const model_config& model, const packed_batch& batch,
                              const rotary_cache& rotary, const at::Tensor& qkv,
                              const at::Tensor& rstd, const at::Tensor& q_norm,
                              const at::Tensor& k_norm, at::Tensor gradient,
                              at::Tensor q_norm_gradient, at::Tensor k_norm_gradient,
                              write_mode mode);

struct attended {
  at::Tensor out;                          ///< [T, N H]
  at::Tensor lse;                          ///< [T, N]
  std::vector<at::Tensor> of_device = {};  ///< what a device's attention wants back
};

[[nodiscard]] attended attention(const model_config& model, const packed_batch& batch,
                                 const at::Tensor& rotated, const at::Tensor& qkv);

/// Gradient laid out as qkv, before norm_and_rotate_backward.
[[nodiscard]] at::Tensor attention_backward(const model_config& model, const packed_batch& batch,
                                            const at::Tensor& rotated, const at::Tensor& qkv,
                                            const attended& forward, const at::Tensor& gradient);

}  // namespace troupe::gpu
