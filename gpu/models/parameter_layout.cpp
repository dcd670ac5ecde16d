#include "gpu/models/parameter_layout.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

#include "config/limits.hpp"

namespace troupe::gpu {
namespace {

struct bounded_size {
  std::string_view name;
  std::uint64_t value;
  std::uint64_t max;
};

result<void> check_sizes(const model_config& m) {
  const std::array<bounded_size, 8> sizes{{
      {"vocab_size", m.vocab_size, limits::model_vocab_max},
      {"hidden_size", m.hidden_size, limits::model_width_max},
      {"intermediate_size", m.intermediate_size, limits::model_width_max},
      {"num_hidden_layers", m.num_layers, limits::model_layers_max},
      {"num_attention_heads", m.num_heads, limits::model_heads_max},
      {"num_key_value_heads", m.num_kv_heads, limits::model_heads_max},
      {"head_dim", m.head_dim, limits::model_head_dim_max},
      {"max_position_embeddings", m.max_positions, limits::model_positions_max},
  }};
  for (const bounded_size& size : sizes) {
    if (size.value == 0)
      return fail(errc::bad_model, std::string(size.name) + " is 0",
                  "the field is missing or wrong in config.json",
                  "check config.json of the model directory");
    if (size.value > size.max)
      return fail(errc::unsupported,
                  std::string(size.name) + " is " + std::to_string(size.value) + ", more than " +
                      std::to_string(size.max),
                  "the model is larger than this build can run", "use a smaller model");
  }
  return {};
}

result<void> check_experts(const model_config& m, const family& kind) {
  const expert_config& e = m.experts;
  const std::string action = "check config.json of the model directory";
  if (kind.expert.empty()) {
    if (e == expert_config{}) return {};
    return fail(
        errc::bad_model,
        "a " + std::string(kind.name) + " model with " + std::to_string(e.count) + " experts",
        "this family has none", action);
  }
  if (e.count == 0 || e.width == 0 || e.per_token == 0 || e.per_token > e.count)
    return fail(errc::bad_model,
                std::to_string(e.per_token) + " of " + std::to_string(e.count) +
                    " experts per token, each " + std::to_string(e.width) + " wide",
                "num_experts_per_tok must be from 1 to num_experts, and moe_intermediate_size "
                "positive",
                action);
  const std::uint64_t matrices = std::uint64_t{e.count} * m.num_layers * kind.expert.size();
  if (e.count > limits::model_experts_max || e.width > limits::model_width_max ||
      matrices > limits::safetensors_tensors_max)
    return fail(errc::unsupported,
                std::to_string(e.count) + " experts in " + std::to_string(m.num_layers) +
                    " blocks, each " + std::to_string(e.width) + " wide",
                "the model is larger than this build can run", "use a smaller model");
  return {};
}

result<void> check_constants(const model_config& m) {
  if (!(m.rms_norm_eps > 0) || !std::isfinite(m.rms_norm_eps))
    return fail(errc::bad_model, "rms_norm_eps is " + std::to_string(m.rms_norm_eps),
                "it must be a positive number", "check config.json of the model directory");
  if (!(m.rope_theta > 0) || !std::isfinite(m.rope_theta))
    return fail(errc::bad_model, "rope_theta is " + std::to_string(m.rope_theta),
                "it must be a positive number", "check config.json of the model directory");
  return {};
}

result<void> check_heads(const model_config& m) {
  const std::string action = "check config.json of the model directory";
  if (m.num_heads % m.num_kv_heads != 0)
    return fail(errc::bad_model,
                "num_attention_heads " + std::to_string(m.num_heads) +
                    " is not a multiple of num_key_value_heads " + std::to_string(m.num_kv_heads),
                "grouped-query attention shares each key head among equally many query heads",
                action);
  if (m.head_dim % 2 != 0)
    return fail(errc::bad_model, "head_dim " + std::to_string(m.head_dim) + " is odd",
                "rotary positions turn pairs of elements", action);
  return {};
}

result<void> check_rope(const model_config& m, const family& kind) {
  if (std::ranges::find(kind.ropes, m.rope.kind) == kind.ropes.end())
    return fail(errc::unsupported,
                "rope type " + std::to_string(static_cast<int>(m.rope.kind)) + " of a " +
                    std::string(kind.name) + " model is not supported",
                "this version does not compute it for this family", "choose a model without it");
  if (m.rope.kind == rope_kind::plain) return {};
  const rope_scaling& r = m.rope;
  const bool is_possible = std::isfinite(r.factor) && r.factor >= 1 && r.low_freq_factor > 0 &&
                           std::isfinite(r.high_freq_factor) &&
                           r.high_freq_factor > r.low_freq_factor && r.original_positions >= 1;
  if (is_possible) return {};
  return fail(errc::bad_model, "the numbers of rope scaling \"llama3\" contradict each other",
              "factor must be at least 1, 0 < low_freq_factor < high_freq_factor, and "
              "original_max_position_embeddings at least 1",
              "check config.json of the model directory");
}

}  // namespace

std::vector<parameter_spec> parameter_layout(const model_config& model) {
  const family* const kind = find_family(model.family);
  if (kind == nullptr) return {};
  std::vector<parameter_spec> specs;
  specs.reserve(3 + std::size_t{model.num_layers} * block_size(model));
  specs.push_back({"model.embed_tokens.weight", {model.vocab_size, model.hidden_size}});
  for (std::uint32_t block = 0; block < model.num_layers; ++block) {
    const std::string prefix = "model.layers." + std::to_string(block) + ".";
    for (const block_parameter& parameter : kind->block)
      specs.push_back({prefix + std::string(parameter.name), shape_of(model, parameter.what)});
    for (std::uint32_t e = 0; e < model.experts.count; ++e)
      for (const block_parameter& parameter : kind->expert)
        specs.push_back(
            {prefix + "mlp.experts." + std::to_string(e) + "." + std::string(parameter.name),
             expert_shape_of(model, parameter.what)});
  }
  specs.push_back({"model.norm.weight", {model.hidden_size}});
  if (!model.tied_head) specs.push_back({"lm_head.weight", {model.vocab_size, model.hidden_size}});
  return specs;
}

result<void> validate(const model_config& model) {
  const family* const kind = find_family(model.family);
  if (kind == nullptr)
    return fail(errc::unsupported,
                "model family " + std::to_string(static_cast<int>(model.family)) + " is unknown",
                "the model was described by a newer version", "use a Llama, Qwen2 or Qwen3 model");
  if (auto ok = check_sizes(model); !ok) return ok;
  if (auto ok = check_constants(model); !ok) return ok;
  if (auto ok = check_heads(model); !ok) return ok;
  if (auto ok = check_experts(model, *kind); !ok) return ok;
  return check_rope(model, *kind);
}

std::uint64_t num_parameters(const model_config& model) {
  std::uint64_t total = 0;
  for (const parameter_spec& spec : parameter_layout(model))
    total += spec.num_elements();
  return total;
}

std::uint32_t block_size(const model_config& model) {
  const family* const kind = find_family(model.family);
  if (kind == nullptr) return 0;
  return static_cast<std::uint32_t>(kind->block.size() + model.experts.count * kind->expert.size());
}

std::optional<std::uint32_t> parameter_index(const model_config& model, std::uint32_t block,
                                             role what) {
  const family* const kind = find_family(model.family);
  if (kind == nullptr) return std::nullopt;
  const auto found = std::ranges::find(kind->block, what, &block_parameter::what);
  if (found == kind->block.end()) return std::nullopt;
  return 1 + block * block_size(model) + static_cast<std::uint32_t>(found - kind->block.begin());
}

std::optional<std::uint32_t> parameter_index(const model_config& model, expert_place place,
                                             role what) {
  const family* const kind = find_family(model.family);
  if (kind == nullptr || place.expert >= model.experts.count) return std::nullopt;
  const auto found = std::ranges::find(kind->expert, what, &block_parameter::what);
  if (found == kind->expert.end()) return std::nullopt;
  const std::size_t inside = kind->block.size() + place.expert * kind->expert.size() +
                             static_cast<std::size_t>(found - kind->expert.begin());
  return 1 + place.block * block_size(model) + static_cast<std::uint32_t>(inside);
}

std::uint32_t final_norm_index(const model_config& model) {
  return 1 + model.num_layers * block_size(model);
}

std::uint32_t head_index(const model_config& model) {
  return model.tied_head ? embedding_index : final_norm_index(model) + 1;
}

}  // namespace troupe::gpu
