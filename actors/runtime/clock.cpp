#include "actors/runtime/clock.hpp"

namespace troupe::actors {

std::uint64_t unix_time_ms() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

}  // namespace troupe::actors
