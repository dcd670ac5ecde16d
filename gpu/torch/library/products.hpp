#pragma once

// The products of linear.hpp and projection.hpp in the maths library's words, for any device it
// knows. Operands are rounded as this thread's product_scope says; results and sums are fp32, also
// where a GPU multiplies bf16.
//
// Shapes: those of linear.hpp. Threading: one thread. Errors: the library's exceptions.

#include "gpu/torch/projection.hpp"

namespace troupe::gpu::library {

/// a b, for matrices in any layout.
[[nodiscard]] at::Tensor product(const at::Tensor& a, const at::Tensor& b);

/// into = a b, or += a b.
void product_into(const at::Tensor& a, const at::Tensor& b, write_mode mode, at::Tensor into);

/// y += scale * x A^T B^T on each adapter's outputs.
void add_adapters(const projection& layer, const at::Tensor& x, at::Tensor y);

/// Gradients of one adapter; its part of that of x is added to dx.
void adapter_backward(const projection& layer, const low_rank& adapter, const at::Tensor& x,
                      const at::Tensor& dy, const low_rank& gradient, write_mode mode,
                      at::Tensor dx);

}  // namespace troupe::gpu::library
