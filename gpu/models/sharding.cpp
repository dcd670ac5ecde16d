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

sharding_plan empty_plan(const model_config& model, std::uint32_t world_size) {
  return {world_size, std::vector<parameter_group>(1 + std::size_t{model.num_layers})};
}

void append(parameter_group& group, std::uint32_t parameter, std::uint64_t count) {
  group.members.push_back({parameter, group.num_elements, count});
  group.num_elements += count;
}

void cut(sharding_plan& plan) {
  for (parameter_group& group : plan.groups)
    group.shard_elements = (group.num_elements + plan.world_size - 1) / plan.world_size;
}

}  // namespace

std::uint64_t parameter_group::offset_of(std::uint32_t parameter) const {
  for (const group_member& member : members)
    if (member.parameter == parameter) return member.offset;
  return num_elements;
}

sharding_plan make_sharding_plan(const model_config& model, std::uint32_t world_size) {
  sharding_plan plan = empty_plan(model, world_size);
  const std::vector<parameter_spec> specs = parameter_layout(model);
  for (std::uint32_t parameter = 0; parameter < specs.size(); ++parameter)
    append(plan.groups[group_of(model, parameter)], parameter, specs[parameter].num_elements());
  cut(plan);
  return plan;
}

sharding_plan make_adapter_plan(const model_config& model, const lora_config& lora,
                                std::uint32_t world_size) {
  sharding_plan plan = empty_plan(model, world_size);
  for (const adapter& each : adapters_of(model, lora)) {
    parameter_group& group = plan.groups[each.block ? 1 + *each.block : 0];
    append(group, each.a, lora.rank * each.inputs);
    append(group, each.b, lora.rank * each.outputs);
  }
  cut(plan);
  return plan;
}

std::vector<owned_slice> owned_slices(const sharding_plan& plan, std::uint32_t rank) {
  std::vector<owned_slice> slices;
  for (std::uint32_t g = 0; g < plan.groups.size(); ++g) {
    const parameter_group& group = plan.groups[g];
    const std::uint64_t shard_begin = rank * group.shard_elements;
    const std::uint64_t shard_end = shard_begin + group.shard_elements;
    for (const group_member& member : group.members) {
      const std::uint64_t begin = std::max(shard_begin, member.offset);
      const std::uint64_t end = std::min(shard_end, member.offset + member.num_elements);
      if (begin >= end) continue;
      slices.push_back(
          {{member.parameter, begin - member.offset, end - member.offset}, g, begin - shard_begin});
    }
  }
  std::ranges::sort(slices, {}, [](const owned_slice& s) { return s.slice.parameter; });
  return slices;
}

}  // namespace troupe::gpu
