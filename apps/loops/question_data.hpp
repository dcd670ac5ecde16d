#pragma once

// Questions of one's own for reinforcement learning: JSON lines {"prompt":"..","answer":".."}. An
// answer is right when it is exactly this text and then a line end.
//
// Threading: pure. Errors: errc::invalid_argument naming file and line, errc::not_found.

#include <string>
#include <vector>

#include "apps/loops/arithmetic_task.hpp"
#include "messages/error.hpp"

namespace troupe::loops {

[[nodiscard]] result<std::vector<question>> read_question_file(const std::string& path);

}  // namespace troupe::loops
