#pragma once

// One line per event on stderr, for the person who runs a process. Behind functions because the
// formatting library must not meet libtorch's own copy of it in one unit.
//
// Threading: any thread, after start_log.

#include <cstdint>
#include <string_view>

namespace troupe::config {

enum class log_level : std::uint8_t { debug = 0, info = 1, warning = 2, failure = 3 };

/// `process_name` stands in every line, e.g. "trainer-0".
void start_log(std::string_view process_name, log_level lowest);

void log(log_level level, std::string_view text);

}  // namespace troupe::config
