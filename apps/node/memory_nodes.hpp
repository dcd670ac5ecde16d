#pragma once

// Which of a machine's memory nodes a process computes on. A thread reads memory of another socket
// at half the speed of its own, and much of training is bound by memory, so processes of one role
// spread over the nodes and stay there, threads and memory both; a process that gets several nodes
// spreads its memory over them page by page. On a machine with one node nothing is done.
//
// Cores within a node are left to the scheduler: it knows what else runs there.
//
// Threading: call stay_near before other threads start; they inherit it.
// Errors: errc::engine when the topology cannot be read or the system refuses, as many containers
// do; nothing depends on it, so a caller goes on.

#include <cstdint>
#include <string>

#include "messages/error.hpp"

namespace troupe::node {

/// Which of the processes of one role on this machine. Requires: index < count.
struct machine_share {
  std::uint32_t index = 0;
  std::uint32_t count = 1;
};

/// Nodes from `first` to before `end`, which is more than `first`.
struct node_range {
  std::uint32_t first = 0;
  std::uint32_t end = 1;

  bool operator==(const node_range&) const = default;
};

/// Shares get whole nodes, as evenly as they go; with more shares than nodes, several get the same.
/// Requires: num_nodes > 0.
[[nodiscard]] node_range nodes_of(machine_share share, std::uint32_t num_nodes);

/// Lists as in "0-3,8"; empty where there is nothing to choose.
struct memory_place {
  std::string cores;
  std::string nodes;
};

/// Of this machine, or of one that is described in the topology library's words.
[[nodiscard]] result<memory_place> find_place(machine_share share,
                                              const std::string& described = {});

/// Binds this process to its place, and returns it.
[[nodiscard]] result<memory_place> stay_near(machine_share share);

}  // namespace troupe::node
