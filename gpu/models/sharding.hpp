#pragma once

// How a model's parameters are cut over ranks. Parameters that are needed together form a group:
// group 0 holds what lies outside the blocks (embedding, final norm, untied head), group 1 + b
// holds block b. A group is one flat buffer, its members packed without gaps in canonical order;
// the buffer is padded and cut into equal shards, one for each rank that shares the copy. One
// collective thus moves a whole block, and no parameter's shape limits how it may be cut.
//
// Several copies may be held, each by a group of ranks that follow each other. Ranks then hold the
// same shard as their peers in other groups, and own one of as many equal parts of it: what they
// write and count.
//
// Padding exists in memory only: slices name elements of canonical space, so state written by N
// ranks is read by M.
//
// Units: elements. Threading: pure functions.
// Invariants: SHARD-1 over all ranks, owned slices cover every element of every parameter exactly
//             once; over the ranks of a group, held ones do.

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
  std::uint64_t shard_elements = 0;  ///< padding included; a multiple of the number of copies

  /// Where a member of this group begins. Requires: the parameter is a member.
  [[nodiscard]] std::uint64_t offset_of(std::uint32_t parameter) const;
};

/// `num_copies` groups of `num_shards` ranks.
struct rank_layout {
  std::uint32_t num_shards = 1;
  std::uint32_t num_copies = 1;
};

struct sharding_plan {
  rank_layout ranks;
  std::vector<parameter_group> groups;
};

/// A run of elements of one parameter, and where it lies in its holder's shard of the group.
struct owned_slice {
  parameter_slice slice;
  std::uint32_t group = 0;
  std::uint64_t shard_offset = 0;
};

/// Requires: validate(model).
[[nodiscard]] sharding_plan make_sharding_plan(const model_config& model, rank_layout ranks);

/// The same groups, holding adapters instead of what they are on. Requires: validate(model, lora).
[[nodiscard]] sharding_plan make_adapter_plan(const model_config& model, const lora_config& lora,
                                              rank_layout ranks);

/// With padding, of all groups.
[[nodiscard]] std::uint64_t padded_elements(const sharding_plan& plan);

/// What a rank holds, and the part of it that is its own, in canonical order. Requires: rank < all
/// ranks of the plan.
[[nodiscard]] std::vector<owned_slice> held_slices(const sharding_plan& plan, std::uint32_t rank);
[[nodiscard]] std::vector<owned_slice> owned_slices(const sharding_plan& plan, std::uint32_t rank);

}  // namespace troupe::gpu
