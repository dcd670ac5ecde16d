#pragma once

// A training step of two ranks, each a process of its own, over loopback: with blocks gathered
// ahead, and with blocks gathered when they are needed.
//
// Units: seconds. Threading: call it before the process has threads; it forks.

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/training.hpp"

namespace troupe::bench {

/// The metric of that name; 0: there is none.
[[nodiscard]] double number_of(const metric_list& metrics, std::string_view name);

struct rank_seconds {
  double ahead = 0;
  double on_demand = 0;
  double exchanges_ahead = 0;  ///< of it, waiting for other ranks
  double exchanges_on_demand = 0;
};

/// Of what write_work wrote into the folder: the best of `steps`, taken in turn, after one that is
/// not counted.
[[nodiscard]] rank_seconds measure_ranks(const std::string& folder, std::uint32_t steps);

}  // namespace troupe::bench
