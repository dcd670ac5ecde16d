#pragma once

// The ops of row_ops.hpp in the maths library's words, for any device it knows. On a GPU norms are
// kernels of this project, one pass over memory instead of several.
//
// Shapes, invariants: those of row_ops.hpp. Sums over rows do not depend on the order in which a
// device takes them up. Threading: one thread. Errors: the library's exceptions.

#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu::library {

[[nodiscard]] normed rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
void rms_norm_backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                       const at::Tensor& dy, at::Tensor dx, at::Tensor weight_gradient,
                       write_mode mode);

[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);
void swiglu_backward(at::Tensor dy, at::Tensor gate_up);

[[nodiscard]] at::Tensor embed(std::span<const token_id> tokens, const at::Tensor& embedding);
void embed_backward(std::span<const token_id> tokens, const at::Tensor& dx,
                    at::Tensor embedding_gradient);

void sum_rows(const at::Tensor& rows, at::Tensor sum, write_mode mode);

/// into = value, or += value.
void write(at::Tensor into, const at::Tensor& value, write_mode mode);

}  // namespace troupe::gpu::library
