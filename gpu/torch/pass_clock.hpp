#pragma once

// Where the time of a pass goes: in matrix products, in attention (whose products and softmax are
// one loop), in exchanges with other ranks, and the rest. Time is that of the thread that runs the
// pass; the pool's threads work for it in the meantime.
//
// Units: seconds. Threading: each thread has its own clock.

#include <chrono>

#include "messages/training.hpp"

namespace troupe::gpu {

struct pass_seconds {
  double products = 0;
  double attention = 0;
  double exchanges = 0;
};

/// Adds its lifetime to a part of this thread's pass.
class timed_part {
 public:
  explicit timed_part(double pass_seconds::*part);
  ~timed_part();
  timed_part(const timed_part&) = delete;
  timed_part& operator=(const timed_part&) = delete;

 private:
  double pass_seconds::*part_;
  std::chrono::steady_clock::time_point begin_;
};

/// A pass of this thread from here on.
class pass_clock {
 public:
  pass_clock();

  /// Appends "pass_seconds:max", "exchange_seconds:max" and, where this thread waits for its ops,
  /// "product_seconds:max" and "attention_seconds:max".
  void tell(metric_list& metrics) const;

 private:
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace troupe::gpu
