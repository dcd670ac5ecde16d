#pragma once

// What happens to rows between two matrix products: normalisation, the gated activation, embedding
// lookup. Each op is one pass over memory in either direction.
//
// Shapes: T packed rows; D, I widths.
// Threading: called from one thread; runs on the pool.
// Invariants: sums over rows (gradients of norm weights and embeddings) have a fixed order.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/torch/tensors.hpp"
#include "messages/ids.hpp"

namespace troupe::gpu {

struct normed {
  at::Tensor y;     ///< [T, D]
  at::Tensor rstd;  ///< [T]
};

[[nodiscard]] normed rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

/// Adds the gradient of x to dx, which holds that of the residual branch. An undefined
/// weight_gradient is not wanted.
void rms_norm_backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                       const at::Tensor& dy, at::Tensor dx, at::Tensor weight_gradient,
                       write_mode mode);

/// gate_up [T, 2 I] to silu(gate) * up [T, I].
[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate_up);

/// The same for gates and values that stand apart, [T, I] each.
[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

/// gate_up becomes its gradient, and dy what swiglu made of it: the next product needs that, and
/// gate_up passes by only once.
void swiglu_backward(at::Tensor dy, at::Tensor gate_up);

/// Rows of the embedding, [T, D].
[[nodiscard]] at::Tensor embed(std::span<const token_id> tokens, const at::Tensor& embedding);

/// Adds each row of dx to the row of its token.
void embed_backward(std::span<const token_id> tokens, const at::Tensor& dx,
                    at::Tensor embedding_gradient);

/// Copies of the named rows.
[[nodiscard]] at::Tensor take_rows(const at::Tensor& matrix, std::span<const std::size_t> rows);

/// Row i of `from` becomes row rows[i] of `to`.
void put_rows(const at::Tensor& from, std::span<const std::size_t> rows, at::Tensor to);

/// Every row of `to` becomes `row`.
void repeat_row(const at::Tensor& row, at::Tensor to);

/// Sum of all rows, [D].
void sum_rows(const at::Tensor& rows, at::Tensor sum, write_mode mode);

/// One row of partial sums per tile of rows, added in tile order into `into`.
class row_sums {
 public:
  /// Rows whose sum one task makes; fixed, so that the thread count does not matter.
  static constexpr std::size_t tile = 64;

  row_sums(std::size_t rows, std::size_t width);
  [[nodiscard]] std::size_t num_tiles() const { return num_tiles_; }
  [[nodiscard]] float* of_tile(std::size_t tile_index) { return &sums_[tile_index * width_]; }
  void add_up(float* into, write_mode mode) const;

 private:
  std::size_t num_tiles_;
  std::size_t width_;
  std::vector<float> sums_;
};

}  // namespace troupe::gpu
