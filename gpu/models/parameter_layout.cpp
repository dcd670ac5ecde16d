#include "gpu/models/parameter_layout.hpp"

#include <array>
#include <cmath>
#include <string>
#include <string_view>

#include "config/limits.hpp"
#include "gpu/models/qwen3.hpp"

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

result<void> check_constants(const model_config& m) {
  if (!(m.rms_norm_eps > 0) || !std::isfinite(m.rms_norm_eps))
    return fail(errc::bad_model, "rms_norm_eps is " + std::to_string(m.rms_norm_eps),
                "it must be a positive number", "check config.json of the model directory");
  if (!(m.rope_theta > 0) || !std::isfinite(m.rope_theta))
    return fail(errc::bad_model, "rope_theta is " + std::to_string(m.rope_theta),
                "it must be a positive number", "check config.json of the model directory");
  return {};
}

}  // namespace

std::vector<parameter_spec> parameter_layout(const model_config& model) {
  switch (model.family) {
    case model_family::qwen3:
      return qwen3::layout(model);
  }
  return {};
}

result<void> validate(const model_config& model) {
  if (model.family != model_family::qwen3)
    return fail(errc::unsupported,
                "model family " + std::to_string(static_cast<int>(model.family)) + " is unknown",
                "the model was described by a newer version", "use a Qwen3 dense model");
  if (auto ok = check_sizes(model); !ok) return ok;
  if (auto ok = check_constants(model); !ok) return ok;
  return qwen3::validate(model);
}

std::uint64_t num_parameters(const model_config& model) {
  std::uint64_t total = 0;
  for (const parameter_spec& spec : parameter_layout(model))
    total += spec.num_elements();
  return total;
}

}  // namespace troupe::gpu
