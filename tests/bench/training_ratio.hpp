#pragma once

// How much of a run's time is training when ranks are killed at a steady pace.
//
// A second run of the same shape, which nobody kills and which takes no snapshots, is stepped for a
// moment before and after each window of the first: its mean step is what a step costs on this
// machine at this time, so that the machine's own drift cancels. Both runs share the cluster and
// never work at the same time.
//
// Units: in the names. Threading: one thread. Errors: as recovery_stage.hpp.

#include <filesystem>

#include <boost/json.hpp>

namespace troupe::bench {

struct ratio_options {
  double minutes = 10;       ///< of the run that is killed
  double kill_every_s = 60;  ///< of its own time
};

/// Tells on stderr how it stands, every half minute; ends after 1.6 times `minutes` and two minutes
/// with what it has.
[[nodiscard]] boost::json::object training_ratio(const std::filesystem::path& programs,
                                                 const ratio_options& wanted);

}  // namespace troupe::bench
