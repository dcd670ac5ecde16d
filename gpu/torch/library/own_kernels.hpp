#pragma once

// The kernels of this project where the maths library computes on a GPU, as ops on tensors. Absent
// in builds without CUDA, and for tensors of the processor.
//
// Threading: one thread; asynchronous on the stream of the library, its default one.
// Errors: std::runtime_error with the words of CUDA.

#include "gpu/kernels/device_table.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu::library {

/// Null where the library's own ops are to be used.
[[nodiscard]] const kernels::device_table* own_kernels_for(const at::Tensor& tensor);

[[nodiscard]] normed own_rms_norm(const kernels::device_table& own, const at::Tensor& x,
                                  const at::Tensor& weight, double eps);

struct norm_inputs {
  const at::Tensor& x;
  const at::Tensor& weight;
  const at::Tensor& rstd;
  const at::Tensor& dy;
};
void own_rms_norm_backward(const kernels::device_table& own, const norm_inputs& in, at::Tensor& dx,
                           at::Tensor& weight_gradient, write_mode mode);

struct scored_rows {
  at::Tensor lse;       ///< [T]
  at::Tensor logprobs;  ///< [T]
};
/// `targets` [T] of int32, one for each row.
[[nodiscard]] scored_rows own_token_logprobs(const kernels::device_table& own,
                                             const at::Tensor& logits, const at::Tensor& targets);

/// `logits` become gradient * d logprob / d logits.
void own_token_logprobs_backward(const kernels::device_table& own, at::Tensor& logits,
                                 const at::Tensor& lse, const at::Tensor& targets,
                                 const at::Tensor& gradient);

}  // namespace troupe::gpu::library
