#pragma once

// What a simulated run tells of itself.
//
// Threading: one thread.

#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/sim_cluster.hpp"

namespace troupe::tests {

/// The run's events of one kind, oldest first.
inline std::vector<run_event> events_of(sim_cluster& cluster, const actors::training_run_actor& run,
                                        run_event_kind kind) {
  const auto all = cluster.ask<run_events_reply>(run, run_events_request{run_id{"r"}, 0});
  BOOST_REQUIRE(all.has_value());
  std::vector<run_event> out;
  for (const run_event& event : std::get<0>(*all).events) {
    if (event.kind == kind) out.push_back(event);
  }
  return out;
}

}  // namespace troupe::tests
