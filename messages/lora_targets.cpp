#include <algorithm>
#include <array>

#include "messages/model.hpp"

namespace troupe {
namespace {

constexpr std::array all_targets{
    lora_target::q_proj,    lora_target::k_proj,  lora_target::v_proj,    lora_target::o_proj,
    lora_target::gate_proj, lora_target::up_proj, lora_target::down_proj, lora_target::lm_head};

/// The option that allows a target.
struct train_flag {
  const char* name;
  bool lora_config::*value;
};

train_flag flag_of(lora_target target) {
  if (target == lora_target::lm_head) return {"train_unembed", &lora_config::train_unembed};
  if (target < lora_target::gate_proj) return {"train_attn", &lora_config::train_attn};
  return {"train_mlp", &lora_config::train_mlp};
}

bool is_allowed(lora_target target, const lora_config& lora) {
  return lora.*flag_of(target).value;
}

}  // namespace

std::string_view to_string(lora_target target) {
  constexpr std::array<std::string_view, all_targets.size()> names{
      "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"};
  return names.at(static_cast<std::size_t>(target));
}

std::set<lora_target> targets_of(const lora_config& lora) {
  if (lora.targets) return *lora.targets;
  std::set<lora_target> out;
  for (const lora_target target : all_targets)
    if (is_allowed(target, lora)) out.insert(target);
  return out;
}

result<void> check_targets(const lora_config& lora) {
  const std::set<lora_target> targets = targets_of(lora);
  if (targets.empty())
    return fail(errc::invalid_argument, "LoRA without any target",
                lora.targets ? "its list of targets is empty" : "all train_ options are false",
                "name a target, or set one of train_attn, train_mlp and train_unembed");
  const auto refused =
      std::ranges::find_if(targets, [&](lora_target each) { return !is_allowed(each, lora); });
  if (refused == targets.end()) return {};
  const std::string name(to_string(*refused));
  const std::string flag(flag_of(*refused).name);
  return fail(errc::invalid_argument,
              "LoRA target " + name + " contradicts " + flag + ", which is false",
              "a list of targets chooses among what the train_ options allow",
              "set " + flag + " to true, or leave " + name + " out");
}

}  // namespace troupe
