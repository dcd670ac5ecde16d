#pragma once

// Reads what a run left behind, through the store as a restarted control node would, and compares
// it with the answers that its client got.
//
// Threading: one thread. Answers name the invariant that is broken; empty: all hold.

#include <string>
#include <vector>

#include "messages/training.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe::tests {

/// I2, I4: every answered op is in the log once, in order, with this answer.
[[nodiscard]] std::vector<std::string> check_log(sim_cluster& cluster, const run_id& run,
                                                 const std::vector<op_reply>& replies);

/// I1: the op would be in the log with this answer if the power failed at this moment.
[[nodiscard]] std::vector<std::string> check_durable(sim_cluster& cluster, const run_id& run,
                                                     const op_reply& reply);

/// I1, I5: acknowledged checkpoints are whole; parents exist.
[[nodiscard]] std::vector<std::string> check_checkpoints(sim_cluster& cluster, const run_id& run,
                                                         const std::vector<op_reply>& replies);

}  // namespace troupe::tests
