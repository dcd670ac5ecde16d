#pragma once

// Parameters of Qwen3 dense models, in the order of their Hugging Face state dict. Within a block
// the projections that read the same input stand next to each other (q, k, v and gate, up), so that
// a flat buffer of a block holds each trio or pair as one matrix.
//
// Threading: pure functions. Source: transformers, models/qwen3 (names and shapes).

#include <cstdint>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu::qwen3 {

/// Place of a parameter inside its block; its index is 1 + block * block_size + place.
enum class place : std::uint32_t {
  q_proj = 0,
  k_proj = 1,
  v_proj = 2,
  o_proj = 3,
  q_norm = 4,
  k_norm = 5,
  gate_proj = 6,
  up_proj = 7,
  down_proj = 8,
  input_norm = 9,
  post_attention_norm = 10,
};

inline constexpr std::uint32_t block_size = 11;
inline constexpr std::uint32_t embedding = 0;

[[nodiscard]] constexpr std::uint32_t parameter_index(std::uint32_t block, place where) {
  return 1 + block * block_size + static_cast<std::uint32_t>(where);
}

[[nodiscard]] constexpr std::uint32_t final_norm(const model_config& model) {
  return 1 + model.num_layers * block_size;
}

/// The vocabulary head: the embedding itself when they are tied.
[[nodiscard]] constexpr std::uint32_t head(const model_config& model) {
  return model.tied_head ? embedding : final_norm(model) + 1;
}

[[nodiscard]] std::vector<parameter_spec> layout(const model_config& model);

/// errc::bad_model for numbers that contradict each other.
[[nodiscard]] result<void> validate(const model_config& model);

}  // namespace troupe::gpu::qwen3
