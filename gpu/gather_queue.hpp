#pragma once

// Gathers that run while their caller computes: weights of the next block move while the one before
// is multiplied. A thread of its own makes the calls, in the order in which they were started, so
// any communicator will do.
//
// Threading: one caller, who makes no other call of the communicator before finish().
// Errors: those of the gathers, at finish() and ever after; a gather has the communicator's
// deadline, and so has every wait for it.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "gpu/comm.hpp"

namespace troupe::gpu {

class gather_queue {
 public:
  /// `ranks` must outlive the queue.
  explicit gather_queue(comm& ranks);
  /// Aborts the communicator when a gather is still under way.
  ~gather_queue();
  gather_queue(const gather_queue&) = delete;
  gather_queue& operator=(const gather_queue&) = delete;

  /// As comm::all_gather, behind what the device was given so far; both spans stay untouched until
  /// finish(). Waits for room while as many as it takes are open.
  void start(std::span<const float> mine, std::span<float> all);

  /// Waits for all that were started.
  result<void> finish();

 private:
  struct gather {
    device_moment after;
    std::span<const float> mine;
    std::span<float> all;
  };

  void work();

  comm& ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<gather> open_;  ///< the first is under way
  std::optional<error> failed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace troupe::gpu
