#pragma once

// The sampler engine: continuous batching over `decoder`. A step gathers what every active
// sequence has not computed yet (a prompt, or one token), runs it in chunks of bounded size, and
// chooses one token per sequence.
//
// Threading, errors and invariants: those of sampler_engine.

#include <memory>

#include "gpu/sampler_engine.hpp"
#include "gpu/torch/engine_resources.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// Requires: validate(model).
[[nodiscard]] result<std::unique_ptr<sampler_engine>> make_torch_sampler(
    const model_config& model, const engine_resources& resources = {});

}  // namespace troupe::gpu
