#pragma once

// The whole model as a loop over blocks: embedding, blocks, final norm and head, each group
// gathered before it computes. A pass kept for its backward holds the states of its blocks, or only
// their inputs when the batch is large; both give the same bits.
//
// Threading: one thread. Errors: what comm reports; library exceptions pass through.

#include <span>
#include <vector>

#include "gpu/torch/block.hpp"
#include "gpu/torch/engine_resources.hpp"
#include "gpu/torch/head.hpp"
#include "gpu/torch/sharded_state.hpp"

namespace troupe::gpu {

/// One forward pass and what its backward needs.
struct kept_pass {
  packed_batch batch;
  std::vector<block_state> blocks;  ///< empty when nothing was kept
  at::Tensor last;                  ///< [T, D] before the final norm
  normed final_norm;
  head_output head;
};

class transformer {
 public:
  transformer(const model_config& model, std::unique_ptr<comm> ranks,
              const engine_resources& resources);

  [[nodiscard]] sharded_state& state() { return state_; }
  [[nodiscard]] const sharded_state& state() const { return state_; }

  result<kept_pass> forward(packed_batch batch, retention keep);

  /// Adds the gradients of all parameters. Uses up `pass`, which must have been kept.
  result<void> backward(kept_pass& pass, std::span<const float> logprob_gradient);

 private:
  struct root_tensors {
    at::Tensor embedding;
    at::Tensor final_norm;
    projection head;
  };

  [[nodiscard]] root_tensors view_root(const at::Tensor& flat) const;
  result<at::Tensor> run_blocks(kept_pass& pass, at::Tensor x, retention keep);
  result<void> blocks_backward(kept_pass& pass, at::Tensor dx);

  const model_config model_;
  const engine_resources resources_;
  sharded_state state_;
  rotary_cache rotary_;
};

}  // namespace troupe::gpu
