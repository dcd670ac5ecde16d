#pragma once

// What a forward tells of its datums beside logprobs, cut out of a pass that has just been made.
//
// Threading: pure functions.

#include <vector>

#include "gpu/torch/transformer.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

/// Takes the distributions' details out of `pass`, whose head was asked for them.
[[nodiscard]] std::vector<datum_details> take_details(kept_pass& pass,
                                                      const forward_details& wanted);

}  // namespace troupe::gpu
