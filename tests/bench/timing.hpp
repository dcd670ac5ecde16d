#pragma once

// What benchmarks do with the times they take.
//
// Threading: pure functions. Units: milliseconds.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace troupe::bench {

using steady = std::chrono::steady_clock;

[[nodiscard]] inline double ms_since(steady::time_point begun) {
  return std::chrono::duration<double, std::milli>(steady::now() - begun).count();
}

/// The value below which `part` of them lie; 0 of none.
[[nodiscard]] inline double quantile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

}  // namespace troupe::bench
