#pragma once

// What a simulated loop asks of its run: the same ops for the same name, every time.
//
// Threading: pure functions.

#include <cstdint>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::tests {

/// Three short rows, other ones for each step.
[[nodiscard]] std::vector<datum> some_batch(std::uint64_t step);

/// "sft": one pass and one step; "custom": two-phase losses; "mixed": both, with checkpoints
/// and publishing in between. errc::invalid_argument for another name.
[[nodiscard]] result<std::vector<op_body>> make_workload(const std::string& name);

[[nodiscard]] std::vector<std::string> workload_names();

}  // namespace troupe::tests
