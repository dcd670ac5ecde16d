#pragma once

// The ops of attention.hpp in the maths library's words, for any device it knows. Rotation and
// norms are element-wise. Attention itself is the library's variable-length flash attention where a
// GPU multiplies bf16, whose kernels take nothing wider; elsewhere it is written out, a strip of
// queries at a time, which is slower and exact.
//
// Shapes, invariants: those of attention.hpp. Threading: one thread. Errors: the library's.
// Source: Dao 2023 for the flash kernels.

#include "gpu/torch/attention.hpp"

namespace troupe::gpu::library {

[[nodiscard]] rotated_heads norm_and_rotate(const model_config& model, const packed_batch& batch,
                                            const rotary_cache& rotary, const at::Tensor& qkv,
                                            const at::Tensor& q_norm, const at::Tensor& k_norm);

struct norm_gradients {
  at::Tensor q;  ///< undefined, like the next: not wanted
  at::Tensor k;
};
void norm_and_rotate_backward(const model_config& model, const packed_batch& batch,
                              const rotary_cache& rotary, const at::Tensor& qkv,
                              const at::Tensor& rstd, const at::Tensor& q_norm,
                              const at::Tensor& k_norm, at::Tensor gradient,
                              const norm_gradients& norms, write_mode mode);

/// Requires: norm_and_rotate on the same batch.
[[nodiscard]] attended attention(const model_config& model, const packed_batch& batch,
                                 const at::Tensor& rotated, const at::Tensor& qkv);

[[nodiscard]] at::Tensor attention_backward(const model_config& model, const packed_batch& batch,
                                            const at::Tensor& rotated, const at::Tensor& qkv,
                                            const attended& forward, const at::Tensor& gradient);

}  // namespace troupe::gpu::library
