#pragma once

// The whole model as a loop over blocks: embedding, blocks, final norm and head, each group
// gathered before it computes. A pass kept for its backward holds the states of its blocks, or only
// their inputs when the batch is large; both give the same bits.
//
// Threading: one thread. Errors: what comm reports; library exceptions pass through.

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gpu/torch/block.hpp"
#include "gpu/torch/engine_resources.hpp"
#include "gpu/torch/head.hpp"
#include "gpu/torch/model_weights.hpp"

namespace troupe::gpu {

/// One forward pass and what its backward needs.
struct kept_pass {
  packed_batch batch;
  std::vector<block_state> blocks;  ///< empty when nothing was kept
  at::Tensor last;                  ///< [T, D] before the final norm; undefined: only tokens
  normed final_norm;
  head_output head;
  router_load routers;  ///< empty without experts
};

/// How much of a pass is there; the rest is computed again for its backward.
enum class kept_form : std::uint8_t { whole, inputs, tokens };

[[nodiscard]] kept_form form_of(const kept_pass& pass);
/// Gives up what `form` does without; a pass that holds less stays as it is.
void reduce_to(kept_pass& pass, kept_form form);
/// Bytes a pass holds between its forward and its backward: at the most, and at the least.
struct pass_bytes {
  std::size_t all = 0;
  std::size_t inputs = 0;
};

/// Bytes of tensors a kept pass holds.
[[nodiscard]] std::size_t held_by(const kept_pass& pass);

class transformer {
 public:
  transformer(const model_config& model, std::optional<adapter_setup> adapters,
              std::unique_ptr<comm> ranks, const engine_resources& resources);

  [[nodiscard]] model_weights& weights() { return weights_; }
  [[nodiscard]] const model_weights& weights() const { return weights_; }

  [[nodiscard]] pass_bytes kept_bytes(std::size_t rows) const;

  /// errc::invalid_argument when even the least that `rows` need passes the batch's budget.
  [[nodiscard]] result<void> check_room(std::size_t rows) const;

  result<kept_pass> forward(packed_batch batch, retention keep);

  /// Adds the gradients of all trained parameters. Uses up `pass`, which must have been kept and
  /// hold more than its tokens.
  result<void> backward(kept_pass& pass, std::span<const float> logprob_gradient);

 private:
  result<at::Tensor> run_blocks(kept_pass& pass, at::Tensor x, retention keep);
  result<void> blocks_backward(kept_pass& pass, at::Tensor dx);

  const model_config model_;
  const engine_resources resources_;
  model_weights weights_;
  rotary_cache rotary_;
};

}  // namespace troupe::gpu
