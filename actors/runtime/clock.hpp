#pragma once

// The two clocks. Durations are measured on the actor system's clock, which simulations own; the
// calendar appears only in records for people.
//
// Threading: any thread.

#include <chrono>
#include <cstdint>

#include <caf/actor_clock.hpp>
#include <caf/actor_system.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

namespace troupe::actors {

using time_point = caf::actor_clock::time_point;

[[nodiscard]] inline time_point now(caf::actor_system& system) {
  return system.clock().now();
}

[[nodiscard]] inline double seconds_since(caf::actor_system& system, time_point start) {
  return std::chrono::duration<double>(system.clock().now() - start).count();
}

[[nodiscard]] inline double steady_seconds(time_point at) {
  return std::chrono::duration<double>(at.time_since_epoch()).count();
}

/// Milliseconds since 1970, for records.
[[nodiscard]] std::uint64_t unix_time_ms();

}  // namespace troupe::actors
