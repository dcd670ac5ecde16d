#pragma once

// Matrix products of strided operands on the processor: what every linear layer and its gradients
// are made of.
//
// All threads pack a block of both operands, then share its tasks: a group of panels of b and some
// rows of a stay in one core's L2 together, one panel and one tile of rows in L1. Source: Goto,
// van de Geijn 2008. Packing also moves both out of the way of each other: rows that are a multiple
// of a page apart all lie in the same few lines of L1.
//
// Threading: called from one thread, which keeps 8 MiB for packed blocks; runs on the pool.
// Invariants: PRODUCT-1 an element of c is a sum over k in order, in pieces of one fixed length,
//             whatever is computed beside it.

#include <cstddef>

#include "gpu/engine_factory.hpp"
#include "gpu/kernels/cpu_fp16.hpp"

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

/// How products on this thread round their operands, until the scope ends. With bf16 they become
/// that, or fp16 with a factor for each row and column where the processor is quicker with it
/// (gpu/kernels/cpu_fp16.hpp), and so do those of attention. Sums are fp32 but for those of 128
/// products of fp16.
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

/// What computes this thread's products in fp16; null where they are not.
[[nodiscard]] const kernels::fp16_kernels* half_products();

}  // namespace troupe::gpu
