#pragma once

// Waits for calls that may never return, as those do that ask a device which hangs.
//
// Threading: the call runs on a thread of its own, which is given up with what it captured when it
// takes too long, and goes with the process. Errors: those of the call; errc::timeout.

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "messages/error.hpp"

namespace troupe::gpu {

/// Requires: the call holds all that it uses.
template <class Call>
[[nodiscard]] result<void> within(std::chrono::milliseconds patience, Call call) {
  std::packaged_task<result<void>()> task(std::move(call));
  auto outcome = task.get_future();
  std::thread(std::move(task)).detach();
  if (outcome.wait_for(patience) == std::future_status::ready) return outcome.get();
  return fail(errc::timeout, "no answer within " + std::to_string(patience.count()) + " ms");
}

}  // namespace troupe::gpu
