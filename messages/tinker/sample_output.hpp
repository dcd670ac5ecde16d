#pragma once

// The result of a sample request in Tinker's protobuf form.
//
// Threading: pure functions.

#include <string>

#include "messages/sampling.hpp"

namespace troupe::tinker {

/// A SampleResponse.
[[nodiscard]] std::string encode_sample_output(const sample_reply& reply);

}  // namespace troupe::tinker
