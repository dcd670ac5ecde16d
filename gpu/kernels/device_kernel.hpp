#pragma once

// What every kernel for a GPU has beside itself: a reference in plain C++ that says what it
// computes, a checker that compares both on random data, and a timer. `make gpu-check` runs them
// all.
//
// Threading: plain values.

#include <cstddef>
#include <string>
#include <vector>

namespace troupe::gpu::kernels {

/// A cudaStream_t, without its header.
using device_stream = void*;

struct kernel_report {
  std::string name;
  double worst_error = 0;  ///< relative to the largest value of the reference
  double tolerance = 0;
  double microseconds = 0;          ///< best of several runs
  double gigabytes_per_second = 0;  ///< of the memory it must read and write

  [[nodiscard]] bool passes() const { return worst_error <= tolerance; }
};

}  // namespace troupe::gpu::kernels
