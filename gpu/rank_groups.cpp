#include "gpu/rank_groups.hpp"

#include <string>
#include <utility>
#include <vector>

namespace troupe::gpu {

result<rank_groups> rank_groups::form(rank_set ranks) {
  const std::uint32_t world_size = ranks.all->world_size();
  const std::uint32_t size = ranks.group_size();
  if (!ranks.is_even())
    return fail(errc::invalid_argument,
                std::to_string(world_size) + " ranks form no groups of " + std::to_string(size), "",
                "use a shard_size that divides the number of ranks");
  rank_groups out;
  out.all_ = std::move(ranks.all);
  out.shard_size_ = size;
  if (size == world_size) {
    if (size > 1) out.ahead_ = std::make_unique<gather_queue>(*out.all_);
    return out;
  }
  const std::uint32_t rank = out.all_->rank();
  std::vector<std::uint32_t> near;
  for (std::uint32_t i = 0; i < size; ++i)
    near.push_back(rank / size * size + i);
  std::vector<std::uint32_t> far;
  for (std::uint32_t other = rank % size; other < world_size; other += size)
    far.push_back(other);
  auto group = out.all_->subset(near);
  if (!group) return fail(std::move(group.error()));
  auto across = out.all_->subset(far);
  if (!across) return fail(std::move(across.error()));
  out.group_ = std::move(*group);
  out.across_ = std::move(*across);
  if (size > 1) out.ahead_ = std::make_unique<gather_queue>(*out.group_);
  return out;
}

}  // namespace troupe::gpu
