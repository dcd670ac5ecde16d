#include "gpu/models/family.hpp"

namespace troupe::gpu {

const family* find_family(model_family which) {
  switch (which) {
    case model_family::qwen3:
      return &qwen3_family();
    case model_family::llama:
      return &llama_family();
    case model_family::qwen2:
      return &qwen2_family();
    case model_family::qwen3_moe:
      return &qwen3_moe_family();
  }
  return nullptr;
}

std::vector<std::uint64_t> shape_of(const model_config& m, role what) {
  const std::uint64_t hidden = m.hidden_size;
  const std::uint64_t inner = m.intermediate_size;
  const std::uint64_t queries = std::uint64_t{m.num_heads} * m.head_dim;
  const std::uint64_t keys = std::uint64_t{m.num_kv_heads} * m.head_dim;
  switch (what) {
    case role::q_proj:
      return {queries, hidden};
    case role::k_proj:
    case role::v_proj:
      return {keys, hidden};
    case role::q_bias:
      return {queries};
    case role::k_bias:
    case role::v_bias:
      return {keys};
    case role::o_proj:
      return {hidden, queries};
    case role::q_norm:
    case role::k_norm:
      return {m.head_dim};
    case role::gate_proj:
    case role::up_proj:
      return {inner, hidden};
    case role::down_proj:
      return {hidden, inner};
    case role::router:
      return {m.experts.count, hidden};
    case role::input_norm:
    case role::post_attention_norm:
      break;
  }
  return {hidden};
}

std::vector<std::uint64_t> expert_shape_of(const model_config& m, role what) {
  const std::uint64_t hidden = m.hidden_size;
  if (what == role::down_proj) return {hidden, m.experts.width};
  return {m.experts.width, hidden};
}

}  // namespace troupe::gpu
