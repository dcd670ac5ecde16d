#include "gpu/activation_budget.hpp"

#include <algorithm>
#include <string>

#include "config/limits.hpp"

namespace troupe::gpu {
namespace {

std::uint64_t shard_elements(const sharding_plan& plan) {
  std::uint64_t elements = 0;
  for (const parameter_group& group : plan.groups)
    elements += group.shard_elements;
  return elements;
}

std::uint64_t largest_shard(const sharding_plan& plan) {
  std::uint64_t largest = 0;
  for (const parameter_group& group : plan.groups)
    largest = std::max(largest, group.shard_elements);
  return largest;
}

std::uint64_t largest_block(const sharding_plan& plan) {
  std::uint64_t largest = 0;
  for (std::size_t g = 1; g < plan.groups.size(); ++g)
    largest = std::max(largest, plan.groups[g].shard_elements);
  return largest * plan.ranks.num_shards;
}

/// The root group and `blocks` of the largest, whole; none when one rank has everything.
std::uint64_t gathered_elements(const sharding_plan& plan, std::uint64_t blocks) {
  if (plan.ranks.num_shards == 1) return 0;
  return plan.groups.front().shard_elements * plan.ranks.num_shards + blocks * largest_block(plan);
}

}  // namespace

std::uint64_t trained_state_bytes(const sharding_plan& plan) {
  constexpr std::uint64_t parts = 4;  // weights, two moments, gradients
  if (plan.ranks.num_shards == 1) return parts * shard_elements(plan) * sizeof(float);
  // Gradients whole, or one block's and what this rank receives of them, while the weights of two
  // blocks are there.
  const std::uint64_t whole = padded_elements(plan);
  const bool stays_whole = whole * sizeof(float) <= limits::whole_gradient_bytes_max;
  const std::uint64_t moving = gathered_elements(plan, 1) + largest_shard(plan);
  return (parts * shard_elements(plan) + gathered_elements(plan, 2) +
          (stays_whole ? whole : moving)) *
         sizeof(float);
}

std::uint64_t frozen_state_bytes(const sharding_plan& plan) {
  return (shard_elements(plan) + gathered_elements(plan, 2)) * sizeof(float);
}

result<activation_budget> share_device(std::uint64_t free, std::uint64_t state) {
  const std::uint64_t reserve = free / 10;
  if (state + reserve >= free)
    return fail(errc::no_capacity,
                "the state of this rank needs " + std::to_string(state) + " bytes, its GPU has " +
                    std::to_string(free) + " free and keeps " + std::to_string(reserve) +
                    " of them for workspaces",
                "the model is too large for this many ranks, or others use the GPU",
                "use more ranks, or train adapters");
  const std::uint64_t rest = free - reserve - state;
  return activation_budget{rest, rest / 2, rest / 8};
}

}  // namespace troupe::gpu
