#pragma once

// What distinguishes one decoder family from another: which parameters a block and an expert have,
// in which order, and which rotary scalings its config may name. Everything else follows from the
// numbers of model_config, so a family is a table.
//
// Within a block the projections that read the same input stand next to each other (q, k, v and
// their biases; gate, up), so that a flat buffer of a block holds each trio or pair as one matrix.
// The order is part of the stored formats.
//
// Threading: constants and pure functions.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "messages/model.hpp"

namespace troupe::gpu {

/// What a parameter does inside its block.
enum class role : std::uint8_t {
  q_proj,
  k_proj,
  v_proj,
  q_bias,
  k_bias,
  v_bias,
  o_proj,
  q_norm,
  k_norm,
  gate_proj,
  up_proj,
  down_proj,
  input_norm,
  post_attention_norm,
  router,
};

struct block_parameter {
  role what = role::q_proj;
  std::string_view name;  ///< after "model.layers.N."
};

struct family {
  std::string_view name;
  std::span<const block_parameter> block;
  std::span<const rope_kind> ropes;
  /// Of each expert, behind the block's own; names come after "model.layers.N.mlp.experts.E.".
  std::span<const block_parameter> expert = {};
};

/// One per family, each in its own file.
[[nodiscard]] const family& llama_family();
[[nodiscard]] const family& qwen2_family();
[[nodiscard]] const family& qwen3_family();
[[nodiscard]] const family& qwen3_moe_family();

/// Null for a family this build does not know.
[[nodiscard]] const family* find_family(model_family which);

[[nodiscard]] std::vector<std::uint64_t> shape_of(const model_config& model, role what);
[[nodiscard]] std::vector<std::uint64_t> expert_shape_of(const model_config& model, role what);

}  // namespace troupe::gpu
