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

/// Adds the adapter's part of the gradient of x to dx. Returns scale * dy B.
[[nodiscard]] at::Tensor adapter_input_gradient(const projection& layer, const low_rank& adapter,
                                                const at::Tensor& dy, at::Tensor dx);

/// What an adapter's gradients are made of.
struct adapter_terms {
  const at::Tensor& x;
  const at::Tensor& dy;
  const at::Tensor& reduced;  ///< what adapter_input_gradient returned
};

void adapter_gradients(const projection& layer, const low_rank& adapter, const adapter_terms& terms,
                       const low_rank& gradient, write_mode mode);

}  // namespace troupe::gpu::library
