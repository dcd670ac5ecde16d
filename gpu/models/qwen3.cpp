// Qwen3 dense: queries and keys are normalised per head, and nothing has a bias.
// Source: transformers, models/qwen3.

#include <array>

#include "gpu/models/family.hpp"

namespace troupe::gpu {
namespace {

constexpr std::array<block_parameter, 11> block{{
    {role::q_proj, "self_attn.q_proj.weight"},
    {role::k_proj, "self_attn.k_proj.weight"},
    {role::v_proj, "self_attn.v_proj.weight"},
    {role::o_proj, "self_attn.o_proj.weight"},
    {role::q_norm, "self_attn.q_norm.weight"},
    {role::k_norm, "self_attn.k_norm.weight"},
    {role::gate_proj, "mlp.gate_proj.weight"},
    {role::up_proj, "mlp.up_proj.weight"},
    {role::down_proj, "mlp.down_proj.weight"},
    {role::input_norm, "input_layernorm.weight"},
    {role::post_attention_norm, "post_attention_layernorm.weight"},
}};
constexpr std::array ropes{rope_kind::plain};
constexpr family table{"Qwen3", block, ropes};

}  // namespace

const family& qwen3_family() {
  return table;
}

}  // namespace troupe::gpu
