#pragma once

// The parameters of a model in canonical order: their index is the `parameter` of every slice,
// digest and delta, so the order is part of the stored formats and only grows at the end of time.
//
// Threading: pure functions.

#include <cstdint>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// Names (Hugging Face), shapes and order for a config that validate() accepts.
[[nodiscard]] std::vector<parameter_spec> parameter_layout(const model_config& model);

/// errc::bad_model when numbers contradict each other (heads, head_dim, zero sizes),
/// errc::unsupported when they pass what this build can run.
[[nodiscard]] result<void> validate(const model_config& model);

[[nodiscard]] std::uint64_t num_parameters(const model_config& model);

}  // namespace troupe::gpu
