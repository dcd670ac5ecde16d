#pragma once

// Where a model's weights and gradients are while it computes. All parameters are trained, or the
// model is frozen and low-rank adapters beside it are; blocks and head see either as views, in
// which what is frozen has no gradient.
//
// Ranks share the frozen weights and the adapters alike: both are gathered group by group, and the
// adapters' gradients are summed over ranks.
//
// Threading: one thread. Errors: what comm reports.
// Invariants: WEIGHTS-1 ranks gather and reduce the same groups in the same order.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gpu/models/adapters.hpp"
#include "gpu/torch/adapter_setup.hpp"
#include "gpu/torch/block.hpp"
#include "gpu/torch/frozen_base.hpp"
#include "gpu/torch/sharded_state.hpp"

namespace troupe::gpu {

/// Parameters outside the blocks, or with the same layout their gradients.
struct root_tensors {
  at::Tensor embedding;
  at::Tensor final_norm;
  projection head;
};

template <class Views>
struct gradient_views {
  Views views;
  write_mode mode = write_mode::overwrite;
};

class model_weights {
 public:
  /// Requires: validate(model), and validate(model, adapters->lora).
  model_weights(const model_config& model, std::optional<adapter_setup> adapters, rank_groups ranks,
                std::size_t whole_gradient_bytes);
  /// A gather that is still under way ends before its buffers do.
  ~model_weights() { ranks_.end_gathers(); }
  model_weights(const model_weights&) = delete;
  model_weights& operator=(const model_weights&) = delete;

  /// What optimizer steps change and checkpoints hold.
  [[nodiscard]] sharded_state& trained() { return adapters_ ? *adapters_ : weights_; }
  [[nodiscard]] const sharded_state& trained() const { return adapters_ ? *adapters_ : weights_; }
  /// The model's own parameters, trained or frozen.
  [[nodiscard]] sharded_state& model_state() { return weights_; }
  [[nodiscard]] const sharded_state& model_state() const { return weights_; }
  [[nodiscard]] bool has_adapters() const { return adapters_.has_value(); }

  using slice_reader = std::function<result<void>(const parameter_slice&, std::span<float>)>;
  /// With adapters: loads the frozen weights, unless another engine has loaded the same base.
  result<void> load_frozen(const slice_reader& read);

  /// Of the frozen weights as bf16; computed once for each base. Requires: has_adapters().
  [[nodiscard]] state_digest frozen_digest() const;

  /// Valid until the second gather after it.
  result<root_tensors> gather_root();
  result<block_tensors> gather_block(std::uint32_t block);
  /// Begins to gather the block that will be asked for next.
  void prefetch_block(std::uint32_t block);

  [[nodiscard]] gradient_views<root_tensors> root_gradients();
  [[nodiscard]] gradient_views<block_tensors> block_gradients(std::uint32_t block);

  /// Adds what was written into the gradients of a group (0, or 1 + block) over all ranks.
  result<void> reduce(std::uint32_t group) { return trained().reduce(group); }

  using slice_visitor = std::function<result<void>(const parameter_slice&, std::span<float>)>;
  /// The model's own slices of this rank, adapters merged into them. All ranks take part.
  result<void> visit_merged(const slice_visitor& visit);

 private:
  [[nodiscard]] root_tensors view_root(const at::Tensor& flat) const;
  /// Hangs the adapters of block `block` that lie in `flat` into `views`.
  void add_adapters(std::uint32_t block, const at::Tensor& flat, block_tensors& views) const;
  void add_head_adapter(const at::Tensor& flat, projection& head) const;
  [[nodiscard]] low_rank view(const adapter& each, const at::Tensor& flat) const;
  /// Adds to elements of a matrix, from `first` on, what its adapter in `flat` gives.
  void merge(const parameter_slice& slice, const at::Tensor& flat, std::span<float> values) const;

  const model_config model_;
  rank_groups ranks_;
  std::shared_ptr<frozen_base> base_;  ///< null without adapters
  float adapter_scale_ = 1;
  std::size_t rank_ = 0;
  std::vector<adapter> list_;
  sharded_state weights_;
  std::optional<sharded_state> adapters_;
};

}  // namespace troupe::gpu
