#pragma once

// Weights, moments and gradients of one rank: flat shards, one per parameter group. A group is
// gathered into one buffer while its block computes and its gradient is scattered back at once, so
// a rank holds its share plus one block. With one rank the shard is the buffer and nothing moves.
//
// Shapes: flat fp32. Threading: one thread. Errors: what comm reports.
// Invariants: STATE-1 padding is zero. STATE-2 ranks call gather and reduce in the same order.

#include <cstdint>
#include <vector>

#include "gpu/comm.hpp"
#include "gpu/models/sharding.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/error.hpp"

namespace troupe::gpu {

struct state_shard {
  at::Tensor weights;
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  at::Tensor gradients;
  bool has_gradients = false;  ///< false: `gradients` holds nothing of this step
};

/// Where a block writes its gradient.
struct gradient_target {
  at::Tensor flat;
  write_mode mode;
};

/// A frozen state has weights only, and those only once they are adopted.
enum class training : std::uint8_t { frozen, trained };

class sharded_state {
 public:
  /// `ranks` must outlive the state.
  sharded_state(sharding_plan plan, comm& ranks, training kind);

  [[nodiscard]] const sharding_plan& plan() const { return plan_; }
  [[nodiscard]] comm& ranks() { return ranks_; }
  [[nodiscard]] const std::vector<owned_slice>& slices() const { return slices_; }
  [[nodiscard]] std::vector<state_shard>& shards() { return shards_; }
  [[nodiscard]] const std::vector<state_shard>& shards() const { return shards_; }

  /// Frozen: the weights, one shard per group, which others may hold as well.
  void adopt(const std::vector<at::Tensor>& weights);
  [[nodiscard]] bool has_weights() const { return shards_.front().weights.defined(); }

  /// Whole weights of a group. Requires: has_weights(). Valid until another block is gathered;
  /// group 0 stays until weights_changed().
  result<at::Tensor> gather(std::uint32_t group);

  [[nodiscard]] gradient_target gradient_buffer(std::uint32_t group);
  /// Adds what was written into gradient_buffer(group), over all ranks, to the shard's gradients.
  result<void> reduce(std::uint32_t group);

  void clear_gradients();
  void weights_changed() { root_is_gathered_ = false; }

 private:
  [[nodiscard]] bool is_alone() const { return plan_.world_size == 1; }

  comm& ranks_;
  sharding_plan plan_;
  std::vector<owned_slice> slices_;
  std::vector<state_shard> shards_;
  at::Tensor root_weights_;
  at::Tensor block_weights_;
  at::Tensor root_gradients_;
  at::Tensor block_gradients_;
  at::Tensor reduced_;
  bool root_is_gathered_ = false;
};

}  // namespace troupe::gpu
