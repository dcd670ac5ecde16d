#pragma once

// The whole model as a loop over blocks: embedding, blocks, final norm and head, each group
// gathered before it computes, and the next one's while it does. A pass kept for its backward holds
// the states of its blocks as far as its budget goes, and the inputs of the others, which are
// computed again to the same bits. All blocks of a model cost the same, so any set of them is the
// cheapest; the last ones keep their states, because the backward lets go of these first.
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

/// How much of a pass is there: states of blocks, at least inputs of all, or only tokens.
enum class kept_form : std::uint8_t { whole, inputs, tokens };

[[nodiscard]] kept_form form_of(const kept_pass& pass);
/// Gives up the state of one more block, the first that has one; false when none has.
bool give_up_block(kept_pass& pass);
/// Gives up all but the tokens.
void reduce_to_tokens(kept_pass& pass);
/// Bytes a pass holds between its forward and its backward: at the most, and at the least.
struct pass_bytes {
  std::size_t all = 0;
  std::size_t inputs = 0;
};

/// Bytes of tensors a kept pass holds.
[[nodiscard]] std::size_t held_by(const kept_pass& pass);

class transformer {
 public:
  transformer(const model_config& model, std::optional<adapter_setup> adapters, rank_groups ranks,
              const engine_resources& resources);

  [[nodiscard]] model_weights& weights() { return weights_; }
  [[nodiscard]] const model_weights& weights() const { return weights_; }

  [[nodiscard]] pass_bytes kept_bytes(std::size_t rows) const;

  /// errc::invalid_argument when even the least that `rows` need passes the batch's budget.
  [[nodiscard]] result<void> check_room(std::size_t rows) const;

  result<kept_pass> forward(packed_batch batch, retention keep, const row_details& wanted = {});

  /// Adds the gradients of all trained parameters. Uses up `pass`, which must have been kept and
  /// hold more than its tokens.
  result<void> backward(kept_pass& pass, std::span<const float> logprob_gradient);

 private:
  void prefetch(std::uint32_t block);
  result<at::Tensor> run_blocks(kept_pass& pass, at::Tensor x, retention keep);
  result<void> blocks_backward(kept_pass& pass, at::Tensor dx);

  const model_config model_;
  const engine_resources resources_;
  model_weights weights_;
  rotary_cache rotary_;
};

}  // namespace troupe::gpu
