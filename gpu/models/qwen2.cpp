// Qwen2 and Qwen2.5: queries, keys and values have biases, and nothing but the residual stream is
// normalised. The biases stand behind the three matrices, as one vector.
// Source: transformers, models/qwen2.

#include <array>

#include "gpu/models/family.hpp"

namespace troupe::gpu {
namespace {

constexpr std::array<block_parameter, 12> block{{
    {role::q_proj, "self_attn.q_proj.weight"},
    {role::k_proj, "self_attn.k_proj.weight"},
    {role::v_proj, "self_attn.v_proj.weight"},
    {role::q_bias, "self_attn.q_proj.bias"},
    {role::k_bias, "self_attn.k_proj.bias"},
    {role::v_bias, "self_attn.v_proj.bias"},
    {role::o_proj, "self_attn.o_proj.weight"},
    {role::gate_proj, "mlp.gate_proj.weight"},
    {role::up_proj, "mlp.up_proj.weight"},
    {role::down_proj, "mlp.down_proj.weight"},
    {role::input_norm, "input_layernorm.weight"},
    {role::post_attention_norm, "post_attention_layernorm.weight"},
}};
constexpr std::array ropes{rope_kind::plain};
constexpr family table{"Qwen2", block, ropes};

}  // namespace

const family& qwen2_family() {
  return table;
}

}  // namespace troupe::gpu
