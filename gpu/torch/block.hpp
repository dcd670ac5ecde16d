#pragma once

// One transformer block of a decoder, forward and backward. The backward pass is written out
// instead of recorded: a block then keeps exactly what it needs, weight gradients are multiplied
// straight into the flat gradient buffer, and residual gradients are added in place. Between blocks
// there is only one tensor, so checkpointing, sharding and two-phase losses are plain loops over
// blocks.
//
// Shapes: T packed rows, D model, N and K query and key heads of H, I inner width.
// Threading: called from one thread; runs on the pool.
// Invariants: BLOCK-1 running a block again gives the same bits.

#include "gpu/models/sharding.hpp"
#include "gpu/rotary.hpp"
#include "gpu/torch/attention.hpp"
#include "gpu/torch/experts.hpp"
#include "gpu/torch/packed_batch.hpp"
#include "gpu/torch/projection.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {

/// A block's parameters as views into flat buffers, or with the same layout their gradients.
struct block_tensors {
  projection qkv;      ///< [(N + 2 K) H, D]
  projection out;      ///< [D, N H]
  at::Tensor q_norm;   ///< [H]; undefined, like the next, where the family has none
  at::Tensor k_norm;   ///< [H]
  projection gate_up;  ///< [2 I, D]; undefined, like the next, where there are experts
  projection down;     ///< [D, I]
  expert_layer experts;
  at::Tensor input_norm;
  at::Tensor post_norm;
};

[[nodiscard]] block_tensors view_block(const model_config& model, const parameter_group& group,
                                       std::uint32_t block, const at::Tensor& flat);

/// What a block's backward needs; norms, rotations and activations, a pass over memory each, are
/// computed again. Only `x` is set when the products will be as well.
struct block_state {
  at::Tensor x;    ///< [T, D] input
  at::Tensor qkv;  ///< [T, (N + 2 K) H]
  attended attention;
  at::Tensor middle;   ///< [T, D] after attention
  at::Tensor gate_up;  ///< [T, 2 I]
  expert_state experts;

  [[nodiscard]] bool is_complete() const { return qkv.defined(); }
};

/// Elements per packed row that a complete block_state holds beyond its input.
[[nodiscard]] std::size_t kept_elements_per_row(const model_config& model);

struct block_context {
  const model_config& model;
  const packed_batch& batch;
  const rotary_cache& rotary;
};

/// Output of the block; fills all of `state` but `x`.
[[nodiscard]] at::Tensor block_forward(const block_context& context, const block_tensors& weights,
                                       const at::Tensor& x, block_state& state);

/// `dy` becomes the gradient of x. Uses up `state`, which must be complete.
void block_backward(const block_context& context, const block_tensors& weights, block_state& state,
                    at::Tensor dy, const block_tensors& gradients, write_mode mode);

}  // namespace troupe::gpu
