#pragma once

// The parameters of a model in canonical order: their index is the `parameter` of every slice,
// digest and delta, so the order is part of the stored formats and only grows at the end of time.
// First the embedding, then the blocks, then the final norm and, unless it is tied to the
// embedding, the vocabulary head.
//
// Threading: pure functions.

#include <cstdint>
#include <optional>
#include <vector>

#include "gpu/models/family.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// Names (Hugging Face), shapes and order for a config that validate() accepts.
[[nodiscard]] std::vector<parameter_spec> parameter_layout(const model_config& model);

/// errc::bad_model when numbers contradict each other (heads, head_dim, zero sizes),
/// errc::unsupported when they pass what this build can run.
[[nodiscard]] result<void> validate(const model_config& model);

[[nodiscard]] std::uint64_t num_parameters(const model_config& model);

/// Parameters per block. This and the next ones require validate(model).
[[nodiscard]] std::uint32_t block_size(const model_config& model);

inline constexpr std::uint32_t embedding_index = 0;

/// Nothing when the family's blocks have no such parameter.
[[nodiscard]] std::optional<std::uint32_t> parameter_index(const model_config& model,
                                                           std::uint32_t block, role what);

struct expert_place {
  std::uint32_t block = 0;
  std::uint32_t expert = 0;
};

/// The same for a parameter of one expert.
[[nodiscard]] std::optional<std::uint32_t> parameter_index(const model_config& model,
                                                           expert_place place, role what);

[[nodiscard]] std::uint32_t final_norm_index(const model_config& model);

/// The vocabulary head: the embedding itself when they are tied.
[[nodiscard]] std::uint32_t head_index(const model_config& model);

}  // namespace troupe::gpu
