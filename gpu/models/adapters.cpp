#include "gpu/models/adapters.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "config/limits.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"

namespace troupe::gpu {
namespace {

/// Nothing for what has no adapter.
std::optional<lora_target> target_of(role what) {
  switch (what) {
    case role::q_proj:
      return lora_target::q_proj;
    case role::k_proj:
      return lora_target::k_proj;
    case role::v_proj:
      return lora_target::v_proj;
    case role::o_proj:
      return lora_target::o_proj;
    case role::gate_proj:
      return lora_target::gate_proj;
    case role::up_proj:
      return lora_target::up_proj;
    case role::down_proj:
      return lora_target::down_proj;
    default:
      return std::nullopt;
  }
}

std::uint64_t mix(std::uint64_t x) {
  return troupe::detail::mix64(x + 0x9e3779b97f4a7c15ULL);
}

/// Uniform in [-1, 1), from 24 bits so that it is exact in fp32.
double uniform(std::uint64_t seed, std::uint32_t parameter, std::uint64_t element) {
  const std::uint64_t bits = mix(mix(seed ^ mix(parameter)) ^ element) >> 40;
  return static_cast<double>(bits) / static_cast<double>(std::uint64_t{1} << 23) - 1.0;
}

}  // namespace

result<void> validate(const model_config& model, const lora_config& lora) {
  const std::string text = "LoRA rank " + std::to_string(lora.rank);
  if (lora.rank == 0 || lora.rank > limits::lora_rank_max)
    return fail(errc::invalid_argument, text + " is impossible", "",
                "use 1 to " + std::to_string(limits::lora_rank_max));
  if (!(lora.alpha > 0) || !std::isfinite(lora.alpha))
    return fail(errc::invalid_argument, "LoRA alpha is " + std::to_string(lora.alpha),
                "it scales what the adapters add", "use a positive number, for example 32");
  if (auto ok = check_targets(lora); !ok) return ok;
  if (model.tied_head && targets_of(lora).contains(lora_target::lm_head))
    return fail(errc::unsupported, "an adapter on a vocabulary head tied to the embedding",
                "merged weights could not stay tied",
                "set train_unembed to false, or name targets without lm_head");
  for (const adapter& each : adapters_of(model, lora))
    if (lora.rank > std::min(each.inputs, each.outputs))
      return fail(errc::invalid_argument,
                  text + " is more than the " +
                      std::to_string(std::min(each.inputs, each.outputs)) +
                      " dimensions of a target matrix",
                  "such an adapter has more parameters than it can use", "use a smaller rank");
  return {};
}

std::vector<adapter> adapters_of(const model_config& model, const lora_config& lora) {
  std::vector<adapter> all;
  const std::set<lora_target> targets = targets_of(lora);
  const auto is_target = [&](role what) {
    const auto target = target_of(what);
    return target && targets.contains(*target);
  };
  const auto layout = parameter_layout(model);
  auto next = static_cast<std::uint32_t>(layout.size());
  const auto append = [&](std::uint32_t matrix, std::optional<std::uint32_t> block, role what) {
    const auto& shape = layout[matrix].shape;
    all.push_back({matrix, block, what, next, next + 1, shape[1], shape[0]});
    next += 2;
  };
  const family* const kind = find_family(model.family);
  for (std::uint32_t block = 0; block < model.num_layers; ++block) {
    for (const block_parameter& parameter : kind->block)
      if (is_target(parameter.what))
        append(parameter_index(model, block, parameter.what).value_or(0), block, parameter.what);
    for (std::uint32_t e = 0; e < model.experts.count; ++e)
      for (const block_parameter& parameter : kind->expert) {
        if (!is_target(parameter.what)) continue;
        const auto matrix = parameter_index(model, expert_place{block, e}, parameter.what);
        append(matrix.value_or(0), block, parameter.what);
        all.back().expert = e;
      }
  }
  if (targets.contains(lora_target::lm_head)) append(head_index(model), std::nullopt, role::q_proj);
  return all;
}

std::vector<parameter_spec> adapter_layout(const model_config& model, const lora_config& lora) {
  const auto layout = parameter_layout(model);
  std::vector<parameter_spec> specs;
  for (const adapter& each : adapters_of(model, lora)) {
    std::string name = layout[each.matrix].name;
    name.resize(name.size() - std::string_view(".weight").size());
    name = "base_model.model." + name;
    specs.push_back({name + ".lora_A.weight", {lora.rank, each.inputs}});
    specs.push_back({name + ".lora_B.weight", {each.outputs, lora.rank}});
  }
  return specs;
}

initial_adapters::initial_adapters(const model_config& model, const lora_config& lora)
    : adapters_(adapters_of(model, lora)), seed_(lora.seed) {}

result<void> initial_adapters::read(state_part part, const parameter_slice& slice,
                                    std::span<float> out) {
  std::ranges::fill(out, 0.0F);
  const auto found = std::ranges::find(adapters_, slice.parameter, &adapter::a);
  if (part != state_part::weights || found == adapters_.end()) return {};
  const double bound = 1.0 / std::sqrt(static_cast<double>(found->inputs));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(bound * uniform(seed_, slice.parameter, slice.begin + i));
  return {};
}

}  // namespace troupe::gpu
