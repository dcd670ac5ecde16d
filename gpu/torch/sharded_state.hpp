#pragma once

// Weights, moments and gradients of one rank: flat shards, one per parameter group. A group is
// gathered into one of two buffers while the block before computes, and its gradient is scattered
// back at once, so a rank holds its share plus three blocks. With one rank the shard is the buffer
// and nothing moves. Gradients of a small model stay whole on each rank instead until a step asks
// for their sums: many passes then cost one scatter.
//
// Where several groups of ranks hold a copy each, a group's gradients are its own until a step asks
// for their sums over the groups, so that accumulating them moves nothing between groups.
//
// Shapes: flat fp32. Threading: one thread. Errors: what comm reports.
// Invariants: STATE-1 padding is zero. STATE-2 ranks call gather and reduce in the same order.

#include <array>
#include <cstdint>
#include <vector>

#include "gpu/models/sharding.hpp"
#include "gpu/rank_groups.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/error.hpp"

namespace troupe::gpu {

struct state_shard {
  at::Tensor weights;
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  at::Tensor gradients;  ///< a backward makes them where activations it let go of have been
  bool has_gradients = false;
};

/// The elements of one owned slice in the flat shard of its group.
[[nodiscard]] inline at::Tensor owned_part(const at::Tensor& flat, const owned_slice& owned) {
  return flat.narrow(0, static_cast<std::int64_t>(owned.shard_offset),
                     static_cast<std::int64_t>(owned.slice.num_elements()));
}

/// Where a block writes its gradient.
struct gradient_target {
  at::Tensor flat;
  write_mode mode;
};

/// A frozen state has weights only, and those only once they are adopted.
enum class training : std::uint8_t { frozen, trained };

class sharded_state {
 public:
  /// `ranks` must outlive the state. Gradients stay whole where all of them take at most
  /// `whole_gradient_bytes`; all ranks say the same.
  sharded_state(sharding_plan plan, const rank_groups& ranks, training kind,
                std::size_t whole_gradient_bytes);

  [[nodiscard]] const sharding_plan& plan() const { return plan_; }
  [[nodiscard]] const rank_groups& ranks() const { return ranks_; }
  /// What the shards hold, and the part that no other rank owns.
  [[nodiscard]] const std::vector<owned_slice>& held() const { return held_; }
  [[nodiscard]] const std::vector<owned_slice>& owned() const { return owned_; }
  [[nodiscard]] std::vector<state_shard>& shards() { return shards_; }
  [[nodiscard]] const std::vector<state_shard>& shards() const { return shards_; }

  /// Frozen: the weights, one shard per group, which others may hold as well.
  void adopt(const std::vector<at::Tensor>& weights);
  [[nodiscard]] bool has_weights() const { return shards_.front().weights.defined(); }

  /// Whole weights of a group. Requires: has_weights(). Valid until the second block after it is
  /// gathered or fetched ahead; group 0 stays until weights_changed().
  result<at::Tensor> gather(std::uint32_t group);
  /// Begins to gather a block that will be asked for next.
  void prefetch(std::uint32_t group);

  [[nodiscard]] gradient_target gradient_buffer(std::uint32_t group);
  /// Counts what was written into gradient_buffer(group) into the gradients.
  result<void> reduce(std::uint32_t group);

  /// Makes the shards' gradients sums over all ranks, 0 where there are none; once, and before the
  /// step that uses them.
  result<void> finish_gradients();

  void clear_gradients();
  void weights_changed();

 private:
  struct block_buffer {
    at::Tensor weights;
    std::uint32_t group = 0;  ///< that it holds, or will; 0: none
  };

  [[nodiscard]] at::Tensor whole_of(const block_buffer& buffer) const;
  [[nodiscard]] bool is_alone() const { return plan_.ranks.num_shards == 1; }
  /// A group's gradient on its way to the shards.
  [[nodiscard]] at::Tensor passing_gradient(std::uint32_t group) const;
  /// Adds the sum of `whole` over ranks to the shard's gradients.
  result<void> scatter(std::uint32_t group, at::Tensor whole);

  const rank_groups& ranks_;
  sharding_plan plan_;
  std::vector<owned_slice> held_;
  std::vector<owned_slice> owned_;
  std::vector<state_shard> shards_;
  at::Tensor root_weights_;
  std::array<block_buffer, 2> buffers_;
  std::size_t current_ = 0;  ///< buffer of the block that computes
  bool keeps_whole_ = false;
  std::vector<at::Tensor> whole_gradients_;  ///< by group, until a step
  at::Tensor root_gradients_;
  at::Tensor block_gradients_;
  at::Tensor reduced_;
  bool root_is_gathered_ = false;
};

}  // namespace troupe::gpu
