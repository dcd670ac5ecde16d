// Llama 3.x: neither biases nor norms of queries and keys; rotary frequencies are scaled from 3.1
// on. Source: transformers, models/llama, with attention_bias and mlp_bias false.

#include <array>

#include "gpu/models/family.hpp"

namespace troupe::gpu {
namespace {

constexpr std::array<block_parameter, 9> block{{
    {role::q_proj, "self_attn.q_proj.weight"},
    {role::k_proj, "self_attn.k_proj.weight"},
    {role::v_proj, "self_attn.v_proj.weight"},
    {role::o_proj, "self_attn.o_proj.weight"},
    {role::gate_proj, "mlp.gate_proj.weight"},
    {role::up_proj, "mlp.up_proj.weight"},
    {role::down_proj, "mlp.down_proj.weight"},
    {role::input_norm, "input_layernorm.weight"},
    {role::post_attention_norm, "post_attention_layernorm.weight"},
}};
constexpr std::array ropes{rope_kind::plain, rope_kind::llama3};
constexpr family table{"Llama", block, ropes};

}  // namespace

const family& llama_family() {
  return table;
}

}  // namespace troupe::gpu
