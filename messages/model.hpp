#pragma once

// What a model is, independent of any file format and of any maths library: its architecture's
// numbers and its parameters' names and shapes. Read from a Hugging Face `config.json` by
// storage/hf_directory, laid out by gpu/models.
//
// Threading: plain values.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace troupe {

enum class model_family : std::uint8_t { qwen3 = 0, llama = 1, qwen2 = 2, qwen3_moe = 3 };

enum class rope_kind : std::uint8_t { plain = 0, llama3 = 1 };

/// How rotary frequencies are stretched beyond the length a model was first trained at. Waves
/// longer than original_positions / low_freq_factor turn `factor` times slower, those shorter than
/// original_positions / high_freq_factor as before, and those between change smoothly.
struct rope_scaling {
  rope_kind kind = rope_kind::plain;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::uint32_t original_positions = 0;

  bool operator==(const rope_scaling&) const = default;
};

/// How a block's inner layer is divided into experts, of which a router picks a few per token.
struct expert_config {
  std::uint32_t count = 0;  ///< 0: the layer is one
  std::uint32_t per_token = 0;
  std::uint32_t width = 0;          ///< inner width of one expert
  bool weights_sum_to_one = false;  ///< those of the picked ones, for each token

  bool operator==(const expert_config&) const = default;
};

struct model_config {
  model_family family = model_family::qwen3;
  std::uint32_t vocab_size = 0;
  std::uint32_t hidden_size = 0;
  std::uint32_t intermediate_size = 0;
  std::uint32_t num_layers = 0;
  std::uint32_t num_heads = 0;
  std::uint32_t num_kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t max_positions = 0;
  double rope_theta = 1e6;
  double rms_norm_eps = 1e-6;
  bool tied_head = false;
  rope_scaling rope;
  expert_config experts;

  bool operator==(const model_config&) const = default;
};

enum class dtype : std::uint8_t { f32 = 0, bf16 = 1 };

[[nodiscard]] constexpr std::uint64_t bytes_per_element(dtype type) {
  return type == dtype::f32 ? 4 : 2;
}

/// One parameter in canonical space: Hugging Face name, global shape, row-major.
struct parameter_spec {
  std::string name;
  std::vector<std::uint64_t> shape;

  bool operator==(const parameter_spec&) const = default;
  [[nodiscard]] std::uint64_t num_elements() const {
    std::uint64_t n = 1;
    for (const std::uint64_t extent : shape)
      n *= extent;
    return n;
  }
};

/// Matrices that may have an adapter: those of every block, or of each of its experts, and the
/// vocabulary head.
enum class lora_target : std::uint8_t {
  q_proj = 0,
  k_proj = 1,
  v_proj = 2,
  o_proj = 3,
  gate_proj = 4,
  up_proj = 5,
  down_proj = 6,
  lm_head = 7
};

/// The name of its module in Hugging Face's models.
[[nodiscard]] std::string_view to_string(lora_target target);

/// Low-rank adapters: weights stay as they are, and each chosen matrix W acts as
/// W + alpha / rank * B A, with A [rank, inputs] and B [outputs, rank] trained.
struct lora_config {
  std::uint32_t rank = 0;  ///< >= 1
  double alpha = 32;
  std::uint64_t seed = 0;  ///< of the first A; the first B is zero
  bool train_attn = true;
  bool train_mlp = true;
  bool train_unembed = true;
  /// Exactly these, each among what its flag trains; nothing: all that the flags train.
  std::optional<std::set<lora_target>> targets = std::nullopt;

  bool operator==(const lora_config&) const = default;
};

/// What the flags train, or exactly the targets that were named.
[[nodiscard]] std::set<lora_target> targets_of(const lora_config& lora);

/// errc::invalid_argument for no target at all and for one whose flag is false; names them.
[[nodiscard]] result<void> check_targets(const lora_config& lora);

/// Where first weights come from.
struct model_source {
  std::string directory;  ///< Hugging Face directory, absolute
  bool operator==(const model_source&) const = default;
};

/// Order-free digest of a state in canonical space: 128 bits, additive over disjoint slices, so
/// that ranks add theirs and N ranks agree with one. Detects errors; says nothing of authenticity.
struct state_digest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  auto operator<=>(const state_digest&) const = default;
  state_digest& operator+=(const state_digest& other) {
    low += other.low;
    high += other.high;
    return *this;
  }
};

/// 32 lower-case hexadecimal digits.
[[nodiscard]] std::string to_hex(const state_digest& digest);

}  // namespace troupe
