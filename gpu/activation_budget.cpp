#include "gpu/activation_budget.hpp"

#include <algorithm>
#include <string>

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

/// Of the largest group: what its ranks sent this one, which a communicator holds until it is
/// summed, and the sum. Copies exchange shards, ranks that share one whole groups.
std::uint64_t reduced_elements(const sharding_plan& plan) {
  const auto [shards, copies] = plan.ranks;
  const std::uint64_t shard = largest_shard(plan);
  const std::uint64_t within = shards == 1 ? 0 : shard * shards + shard;
  return within + (copies == 1 ? 0 : shard + shard / copies);
}

}  // namespace

std::uint64_t trained_state_bytes(const sharding_plan& plan, std::uint64_t whole_gradient_bytes) {
  constexpr std::uint64_t parts = 4;  // weights, two moments, gradients
  // Whole gradients of all blocks or of one, while the weights of two are there.
  const std::uint64_t whole = plan.ranks.num_shards == 1 ? 0 : padded_elements(plan);
  const bool stay = whole * sizeof(float) <= whole_gradient_bytes;
  return (parts * shard_elements(plan) + gathered_elements(plan, 2) +
          (stay ? whole : gathered_elements(plan, 1)) + reduced_elements(plan)) *
         sizeof(float);
}

std::uint64_t frozen_state_bytes(const sharding_plan& plan) {
  return (shard_elements(plan) + gathered_elements(plan, 2)) * sizeof(float);
}

result<activation_budget> share_device(const device_room& room) {
  const std::uint64_t reserve = room.bytes / 10;
  if (room.states + reserve + room.granted >= room.bytes)
    return fail(errc::no_capacity,
                "the states of this GPU's ranks need " + std::to_string(room.states) +
                    " bytes and batches of other runs " + std::to_string(room.granted) +
                    "; it has " + std::to_string(room.bytes) + " and keeps " +
                    std::to_string(reserve) + " of them for workspaces",
                "the model is too large for this many ranks, or others use the GPU",
                "use more ranks, or train adapters, or lower slots under [trainers]");
  const std::uint64_t rest = room.bytes - reserve - room.states;
  const std::uint64_t mine = std::min(rest / room.sharers, rest - room.granted);
  return activation_budget{mine, mine / 2, mine / 8};
}

}  // namespace troupe::gpu
