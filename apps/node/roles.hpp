#pragma once

// The two shapes of a node. Each wires its ports and actors, tells that it is ready, and serves
// until it should exit.
//
// Threading: blocks the main thread. Errors: what kept the node from starting, or why it left.

#include "apps/node/exit_signal.hpp"
#include "apps/node/options.hpp"
#include "messages/error.hpp"

namespace troupe::node {

/// Owns the database, publishes the front door, writes `<data>/cluster.json`.
[[nodiscard]] result<void> serve_control(const options& wanted, exit_signal& exit);

/// Hosts one rank or one replica for the control node.
[[nodiscard]] result<void> serve_worker(const options& wanted, exit_signal& exit);

}  // namespace troupe::node
