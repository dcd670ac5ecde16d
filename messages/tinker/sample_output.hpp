#pragma once

// The result of a sample request in Tinker's protobuf form.
//
// Threading: pure functions.

#include <optional>
#include <string>

#include "messages/sampling.hpp"
#include "messages/tinker/target_cells.hpp"

namespace troupe::tinker {

/// What of the prompt is shown: its first token has no logprob, and a client may want the last ones
/// only.
struct shown_prompt {
  std::size_t num_tokens = 0;
  std::size_t num_last = 0;  ///< 0: all
  std::optional<target_cells> targets = {};
};

/// A SampleResponse.
[[nodiscard]] std::string encode_sample_output(const sample_reply& reply,
                                               const shown_prompt& prompt);

}  // namespace troupe::tinker
