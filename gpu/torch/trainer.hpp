#pragma once

// The trainer engine on libtorch. A built-in loss is evaluated on the logprobs of an ordinary
// forward and its gradient goes through the same backward as a custom loss, so that both phases of
// a custom loss and a one-shot loss are the same computation.
//
// Before each op the ranks agree that all of them can run it: a bad part on one rank is the same
// error on every rank, and nobody waits in a collective for a rank that refused.
//
// Threading, errors and invariants: those of trainer_engine.

#include <memory>
#include <optional>

#include "gpu/comm.hpp"
#include "gpu/torch/adapter_setup.hpp"
#include "gpu/torch/engine_resources.hpp"
#include "gpu/trainer_engine.hpp"

namespace troupe::gpu {

/// Requires: validate(model), and validate(model, adapters->lora).
[[nodiscard]] result<std::unique_ptr<trainer_engine>> make_torch_trainer(
    const model_config& model, std::optional<adapter_setup> adapters, rank_set ranks,
    const engine_resources& resources = {});

}  // namespace troupe::gpu
