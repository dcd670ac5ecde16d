#pragma once

// The sampler engine: continuous batching over `decoder`. A step gathers what the active sequences
// have not computed yet (one token, or a piece of a prompt), runs it in chunks of bounded size, and
// chooses one token for each sequence that is complete.
//
// Of sequences with one prompt the first computes it; the others wait for it and take over its
// pages. A prompt's pages stay in the prefix cache until the weights change or memory is short.
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
