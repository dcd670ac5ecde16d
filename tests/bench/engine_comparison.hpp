#pragma once

// The table of engine_bench: what was measured of one workload beside what transformers took, each
// comparison as an object with its ratio and its goal, and how far both are apart that compute the
// same.
//
// Units: seconds, bytes. Ratios above 1: the engine is better, or what is compared with it costs
// more. Threading: pure functions. Errors: a number that is missing ends the program.

#include <map>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "tests/bench/engine_work.hpp"

namespace troupe::bench {

/// Flat numbers, and what first steps "told", of processes that measured one workload.
struct measurements {
  boost::json::object engine;
  boost::json::object ranks;
  std::map<std::string, boost::json::object> baseline;  ///< by layout; empty: there is none
};

/// A row of the table.
[[nodiscard]] boost::json::object compare(const workload& work, const measurements& measured);

/// What of a row's parity is not within its goal, for people; empty: all of it is.
[[nodiscard]] std::string missed_parity(const boost::json::object& row);

/// The geometric mean of a comparison over workloads of equal lengths, with the goal for it; empty
/// where no row has it.
[[nodiscard]] boost::json::object mean_ratio(const boost::json::array& rows,
                                             const std::string& comparison, double goal);

}  // namespace troupe::bench
