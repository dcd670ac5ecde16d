#pragma once

// How a model's parameters are cut over ranks. Parameters that are needed together form a group:
// group 0 holds what lies outside the blocks (embedding, final norm, untied head), group 1 + b
// holds block b. A group is one flat buffer, its members packed without gaps in canonical order;
// the buffer is padded to a multiple of world_size and rank r owns its r-th equal part. One
// collective thus moves a whole block, and no parameter's shape limits how it may be cut.
//
// Padding exists in memory only: slices name elements of canonical space, so state written by N
// ranks is read by M.
//
// Units: elements. Threading: pure functions.
// Invariants: SHARD-1 over all ranks, slices cover every element of every parameter exactly once.

#include <cstdint>
#include <vector>

#include "gpu/parameter_io.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

struct group_member {
  std::uint32_t parameter = 0;
  std::uint64_t offset = 0;  ///< of its first element in the group's buffer
  std::uint64_t num_elements = 0;
};

struct parameter_group {
  std::vector<group_member> members;
  std::uint64_t num_elements = 0;    ///< without padding
  std::uint64_t shard_elements = 0;  ///< per rank, padding included

  /// Where a member of this group begins. Requires: the parameter is a member.
  [[nodiscard]] std::uint64_t offset_of(std::uint32_t parameter) const;
};

struct sharding_plan {
  std::uint32_t world_size = 1;
  std::vector<parameter_group> groups;
};

/// A run of elements of one parameter, and where it lies in its owner's shard of the group.
struct owned_slice {
  parameter_slice slice;
  std::uint32_t group = 0;
  std::uint64_t shard_offset = 0;
};

/// Requires: validate(model), world_size >= 1.
[[nodiscard]] sharding_plan make_sharding_plan(const model_config& model, std::uint32_t world_size);

/// The same groups, holding adapters instead of what they are on. Requires: validate(model, lora).
[[nodiscard]] sharding_plan make_adapter_plan(const model_config& model, const lora_config& lora,
                                              std::uint32_t world_size);

/// In canonical order. Requires: rank < plan.world_size.
[[nodiscard]] std::vector<owned_slice> owned_slices(const sharding_plan& plan, std::uint32_t rank);

}  // namespace troupe::gpu
