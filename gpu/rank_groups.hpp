#pragma once

// Ranks of a model in groups that share one copy of its state each. Ranks of a group follow each
// other: they are the ones that stand close. Weights and gradients move within a group for every
// block of every pass, between groups only gradients do, once per step.
//
// Threading: as comm. Errors: what comm reports.

#include <cstdint>
#include <memory>

#include "gpu/comm.hpp"
#include "gpu/gather_queue.hpp"

namespace troupe::gpu {

class rank_groups {
 public:
  /// errc::invalid_argument when the group size does not divide the ranks. All ranks call it alike.
  static result<rank_groups> form(rank_set ranks);

  [[nodiscard]] comm& all() const { return *all_; }
  /// The ranks that share this one's copy.
  [[nodiscard]] comm& group() const { return group_ ? *group_ : *all_; }
  /// The ranks that hold the same part of the other copies; requires num_groups() > 1.
  [[nodiscard]] comm& across() const { return *across_; }

  /// Gathers within the group; requires shard_size() > 1. No communicator may be called before they
  /// are finished.
  [[nodiscard]] gather_queue& ahead() const { return *ahead_; }
  /// Before what they read and write is gone. Nothing may be gathered ahead after it.
  void end_gathers() { ahead_.reset(); }

  [[nodiscard]] std::uint32_t shard_size() const { return shard_size_; }
  [[nodiscard]] std::uint32_t num_groups() const { return all_->world_size() / shard_size_; }

 private:
  std::unique_ptr<comm> all_;
  std::unique_ptr<comm> group_;  ///< null: all of them are one
  std::unique_ptr<comm> across_;
  std::unique_ptr<gather_queue> ahead_;
  std::uint32_t shard_size_ = 1;
};

}  // namespace troupe::gpu
