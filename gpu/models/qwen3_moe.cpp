// Qwen3 with experts: attention as in Qwen3 dense, and instead of one inner layer a router and many
// small ones. Checkpoints of every transformers version name each expert's matrices; only in memory
// do newer versions join them.
// Source: transformers, models/qwen3_moe, with experts in every block.

#include <array>

#include "gpu/models/family.hpp"

namespace troupe::gpu {
namespace {

constexpr std::array<block_parameter, 9> block{{
    {role::q_proj, "self_attn.q_proj.weight"},
    {role::k_proj, "self_attn.k_proj.weight"},
    {role::v_proj, "self_attn.v_proj.weight"},
    {role::o_proj, "self_attn.o_proj.weight"},
    {role::q_norm, "self_attn.q_norm.weight"},
    {role::k_norm, "self_attn.k_norm.weight"},
    {role::router, "mlp.gate.weight"},
    {role::input_norm, "input_layernorm.weight"},
    {role::post_attention_norm, "post_attention_layernorm.weight"},
}};
constexpr std::array<block_parameter, 3> expert{{
    {role::gate_proj, "gate_proj.weight"},
    {role::up_proj, "up_proj.weight"},
    {role::down_proj, "down_proj.weight"},
}};
constexpr std::array ropes{rope_kind::plain};
constexpr family table{"Qwen3-MoE", block, ropes, expert};

}  // namespace

const family& qwen3_moe_family() {
  return table;
}

}  // namespace troupe::gpu
