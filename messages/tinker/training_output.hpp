#pragma once

// The result of forward and forward_backward in Tinker's protobuf form: one row per datum with the
// logprob of every target, and metrics whose names say how a client merges them.
//
// Threading: pure functions.

#include <string>
#include <vector>

#include "messages/training.hpp"

namespace troupe::tinker {

/// A ForwardBackwardOutput. `columns` are those of each datum's targets, 0 or absent where they
/// have one dimension. Metrics that are not finite or have no single ':' are left out: the client
/// would refuse the whole result.
[[nodiscard]] std::string encode_training_output(const forward_result& output,
                                                 const std::vector<std::size_t>& columns);

}  // namespace troupe::tinker
