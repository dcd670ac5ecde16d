#pragma once

// A worker node's place in its cluster: shows the node's agent at the front door, and does so again
// whenever the control node was replaced, for the process is dear and what it hosted is formed anew
// anyway.
//
// Threading: main makes it; `find_again` from any thread, once per loss.
// Errors: `join` says why the cluster cannot be entered. A cluster that stays away for
// deadlines::capacity ends the process through exit_signal.

#include <string>
#include <thread>

#include <caf/all.hpp>

#include "actors/node_agent.hpp"
#include "apps/node/exit_signal.hpp"
#include "apps/node/options.hpp"
#include "apps/support/cluster_endpoint.hpp"

namespace troupe::node {

class membership {
 public:
  membership(caf::actor_system& system, const options& wanted, exit_signal& exit);

  /// Joins with `agent`, and tells it the job manager.
  [[nodiscard]] result<void> join(const actors::node_agent_self& agent,
                                  const apps::cluster_endpoint& endpoint,
                                  const std::stop_token& stop = {});
  void find_again(const actors::node_agent_self& agent);

 private:
  caf::actor_system& system_;
  attach_request request_;
  std::string data_folder_;
  exit_signal& exit_;
  std::jthread finder_;
};

}  // namespace troupe::node
