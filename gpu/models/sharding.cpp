#include "gpu/models/sharding.hpp"

#include <algorithm>

#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"

namespace troupe::gpu {
namespace {

std::uint32_t group_of(const model_config& model, std::uint32_t parameter) {
  if (parameter == embedding_index || parameter >= final_norm_index(model)) return 0;
  return 1 + (parameter - 1) / block_size(model);
}

sharding_plan empty_plan(const model_config& model, rank_layout ranks) {
  return {ranks, std::vector<parameter_group>(1 + std::size_t{model.num_layers})};
}

void append(parameter_group& group, std::uint32_t parameter, std::uint64_t count) {
  group.members.push_back({parameter, group.num_elements, count});
  group.num_elements += count;
}

void cut(sharding_plan& plan) {
  const std::uint64_t parts = std::uint64_t{plan.ranks.num_shards} * plan.ranks.num_copies;
  for (parameter_group& group : plan.groups)
    group.shard_elements = (group.num_elements + parts - 1) / parts * plan.ranks.num_copies;
}

/// Elements [begin, end) of every shard of a group that a rank's slices are cut from.
struct shard_part {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

template <class PartOf>
std::vector<owned_slice> slices_of(const sharding_plan& plan, std::uint32_t shard,
                                   const PartOf& part_of) {
  std::vector<owned_slice> slices;
  for (std::uint32_t g = 0; g < plan.groups.size(); ++g) {
    const parameter_group& group = plan.groups[g];
    const std::uint64_t first = shard * group.shard_elements;
    const shard_part part = part_of(group);
    for (const group_member& member : group.members) {
      const std::uint64_t begin = std::max(first + part.begin, member.offset);
      const std::uint64_t end = std::min(first + part.end, member.offset + member.num_elements);
      if (begin >= end) continue;
      slices.push_back(
          {{member.parameter, begin - member.offset, end - member.offset}, g, begin - first});
    }
  }
  std::ranges::sort(slices, {}, [](const owned_slice& s) { return s.slice.parameter; });
  return slices;
}

}  // namespace

std::uint64_t parameter_group::offset_of(std::uint32_t parameter) const {
  for (const group_member& member : members)
    if (member.parameter == parameter) return member.offset;
  return num_elements;
}

sharding_plan make_sharding_plan(const model_config& model, rank_layout ranks) {
  sharding_plan plan = empty_plan(model, ranks);
  const std::vector<parameter_spec> specs = parameter_layout(model);
  for (std::uint32_t parameter = 0; parameter < specs.size(); ++parameter)
    append(plan.groups[group_of(model, parameter)], parameter, specs[parameter].num_elements());
  cut(plan);
  return plan;
}

sharding_plan make_adapter_plan(const model_config& model, const lora_config& lora,
                                rank_layout ranks) {
  sharding_plan plan = empty_plan(model, ranks);
  for (const adapter& each : adapters_of(model, lora)) {
    parameter_group& group = plan.groups[each.block ? 1 + *each.block : 0];
    append(group, each.a, lora.rank * each.inputs);
    append(group, each.b, lora.rank * each.outputs);
  }
  cut(plan);
  return plan;
}

std::uint64_t padded_elements(const sharding_plan& plan) {
  std::uint64_t elements = 0;
  for (const parameter_group& group : plan.groups)
    elements += group.shard_elements * plan.ranks.num_shards;
  return elements;
}

std::vector<owned_slice> held_slices(const sharding_plan& plan, std::uint32_t rank) {
  return slices_of(plan, rank % plan.ranks.num_shards, [](const parameter_group& group) {
    return shard_part{0, group.shard_elements};
  });
}

std::vector<owned_slice> owned_slices(const sharding_plan& plan, std::uint32_t rank) {
  const std::uint32_t copy = rank / plan.ranks.num_shards;
  return slices_of(plan, rank % plan.ranks.num_shards, [&](const parameter_group& group) {
    const std::uint64_t size = group.shard_elements / plan.ranks.num_copies;
    return shard_part{copy * size, (copy + 1) * size};
  });
}

}  // namespace troupe::gpu
