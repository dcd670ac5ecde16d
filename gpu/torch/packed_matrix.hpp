#pragma once

// A weight matrix laid out for multiplication once and used for many decode steps: panels of 32
// outputs, as the kernels read them, in bf16. Decoding few sequences is bound by reading weights,
// and half the bytes are half the time; a panel is widened while it is multiplied, or for many rows
// into a cache-sized buffer before, which changes no bit of the result.
//
// Shapes: weight [N, K]; x [T, K]; y [T, N]. Units: elements, row-major in the canonical matrix;
// places count in the panels.
// Threading: one thread writes; multiplication runs on the pool.
// Invariants: PACKED-1 a row of y depends on that row of x and on the weights only, with the bits
//             that `linear` gives.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {

class packed_matrix;

/// residual + x W^T for one of several matrices; an undefined residual is 0.
struct packed_product {
  const packed_matrix* matrix = nullptr;
  at::Tensor residual;
};

/// Products of the same rows in one loop over all their panels: with few rows a loop of its own for
/// each would be mostly its beginning and end. Requires: at least one, all with the same inputs.
[[nodiscard]] std::vector<at::Tensor> multiply_each(std::span<const packed_product> products,
                                                    const at::Tensor& x);

class packed_matrix {
 public:
  packed_matrix(std::size_t outputs, std::size_t inputs);

  /// Replaces elements from `first` on.
  void assign(std::uint64_t first, std::span<const std::uint16_t> bits);

  /// Where an element lies in the panels; replace() takes places, found beforehand.
  [[nodiscard]] std::uint64_t place(std::uint64_t element) const;
  void replace(std::span<const std::uint64_t> places, std::span<const std::uint16_t> bits);

  [[nodiscard]] at::Tensor multiply(const at::Tensor& x) const;
  /// residual + x W^T.
  [[nodiscard]] at::Tensor multiply_add(const at::Tensor& x, const at::Tensor& residual) const;

  /// The row of one output, for a matrix that is an embedding as well.
  void copy_row(std::size_t output, float* to) const;

 private:
  [[nodiscard]] std::uint16_t* panels();
  [[nodiscard]] const std::uint16_t* panels() const;
  /// Some rows of a product.
  struct row_block {
    std::size_t first, rows;
    std::size_t all;  ///< rows that are packed together
    const float* packed;
    const float* residual;  ///< null for 0
    float* y;
  };

  [[nodiscard]] at::Tensor pack_rows(const float* x, std::size_t rows) const;
  void multiply_task(const row_block& block, std::size_t panel) const;
  friend std::vector<at::Tensor> multiply_each(std::span<const packed_product> products,
                                               const at::Tensor& x);

  std::size_t outputs_;
  std::size_t inputs_;
  at::Tensor panels_;
};

}  // namespace troupe::gpu
