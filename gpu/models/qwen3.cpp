#include "gpu/models/qwen3.hpp"

#include <string>

namespace troupe::gpu::qwen3 {
namespace {

void append_block(std::vector<parameter_spec>& specs, const model_config& m, std::uint32_t block) {
  const std::uint64_t hidden = m.hidden_size;
  const std::uint64_t q = std::uint64_t{m.num_heads} * m.head_dim;
  const std::uint64_t kv = std::uint64_t{m.num_kv_heads} * m.head_dim;
  const std::uint64_t inner = m.intermediate_size;
  const std::string prefix = "model.layers." + std::to_string(block) + ".";
  specs.push_back({prefix + "self_attn.q_proj.weight", {q, hidden}});
  specs.push_back({prefix + "self_attn.k_proj.weight", {kv, hidden}});
  specs.push_back({prefix + "self_attn.v_proj.weight", {kv, hidden}});
  specs.push_back({prefix + "self_attn.o_proj.weight", {hidden, q}});
  specs.push_back({prefix + "self_attn.q_norm.weight", {m.head_dim}});
  specs.push_back({prefix + "self_attn.k_norm.weight", {m.head_dim}});
  specs.push_back({prefix + "mlp.gate_proj.weight", {inner, hidden}});
  specs.push_back({prefix + "mlp.up_proj.weight", {inner, hidden}});
  specs.push_back({prefix + "mlp.down_proj.weight", {hidden, inner}});
  specs.push_back({prefix + "input_layernorm.weight", {hidden}});
  specs.push_back({prefix + "post_attention_layernorm.weight", {hidden}});
}

}  // namespace

std::vector<parameter_spec> layout(const model_config& model) {
  std::vector<parameter_spec> specs;
  specs.reserve(3 + std::size_t{model.num_layers} * block_size);
  specs.push_back({"model.embed_tokens.weight", {model.vocab_size, model.hidden_size}});
  for (std::uint32_t block = 0; block < model.num_layers; ++block)
    append_block(specs, model, block);
  specs.push_back({"model.norm.weight", {model.hidden_size}});
  if (!model.tied_head) specs.push_back({"lm_head.weight", {model.vocab_size, model.hidden_size}});
  return specs;
}

result<void> validate(const model_config& model) {
  const std::string action = "check config.json of the model directory";
  if (model.num_heads % model.num_kv_heads != 0)
    return fail(
        errc::bad_model,
        "num_attention_heads " + std::to_string(model.num_heads) +
            " is not a multiple of num_key_value_heads " + std::to_string(model.num_kv_heads),
        "grouped-query attention shares each key head among equally many query heads", action);
  if (model.head_dim % 2 != 0)
    return fail(errc::bad_model, "head_dim " + std::to_string(model.head_dim) + " is odd",
                "rotary positions turn pairs of elements", action);
  return {};
}

}  // namespace troupe::gpu::qwen3
