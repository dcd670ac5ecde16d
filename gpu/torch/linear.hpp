#pragma once

// The three products of a linear layer, y = x W^T, over all packed rows at once.
//
// Shapes: x [T, K], W [N, K], y [T, N].
// Threading: called from one thread; runs on the pool.
// Invariants: LINEAR-1 a row of the result depends on that row and on W only.

#include "gpu/engine_factory.hpp"
#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {

/// c [m, n] = addend + a b, with element (i, k) of a and (k, j) of b found by strides, of which one
/// of b's is 1. `addend` is null for 0, may be `c`, and has c's stride.
struct strided_product {
  std::size_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  std::size_t a_row_stride = 0, a_k_stride = 1;
  const float* b = nullptr;
  std::size_t b_k_stride = 0, b_column_stride = 1;
  const float* addend = nullptr;
  float* c = nullptr;
  std::size_t c_stride = 0;
};

void multiply(const strided_product& product);

/// How products on this thread round their operands, until the scope ends. Sums are fp32 always.
class product_scope {
 public:
  explicit product_scope(compute_type type);
  ~product_scope();
  product_scope(const product_scope&) = delete;
  product_scope& operator=(const product_scope&) = delete;

 private:
  compute_type outer_;
};

/// Of this thread.
[[nodiscard]] compute_type product_type();

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
