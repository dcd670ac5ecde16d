#pragma once

// Which nodes there are and what each is used for. A full-parameter run, or a deployment, takes
// nodes whole, because its weights fill them; adapter runs share a node, because the frozen base is
// most of what they need and is there once. Placement takes the least used nodes, in order of their
// names, so that it is the same every time.
//
// Threading: a plain value, one owner. Units: times are milliseconds of the owner's clock.
// Errors: errc::already_exists (a live node of that name), errc::busy (limits::nodes_max).
// Invariants: NODES-1 what took a node whole is alone on it. NODES-2 a node hosts at most as many
// sharers as it has slots, and each at most once.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "messages/cluster.hpp"
#include "messages/error.hpp"

namespace troupe::logic {

/// Whether `hosted` is `what`, or a part of it: "what/part".
[[nodiscard]] bool is_within(const std::string& hosted, const std::string& what);

class node_registry {
 public:
  [[nodiscard]] result<void> join(const attach_request& node, std::uint64_t now_ms);
  void leave(const node_id& node);

  /// False for a node that is not known.
  [[nodiscard]] bool renew(const node_id& node, std::uint64_t now_ms);

  /// Nodes that did not renew within `lease_ms`.
  [[nodiscard]] std::vector<node_id> expired(std::uint64_t now_ms, std::uint64_t lease_ms) const;

  /// `count` different nodes of a role, marked as hosting `what`; none when there are not enough.
  [[nodiscard]] std::optional<std::vector<node_id>> acquire(node_role role, std::uint32_t count,
                                                            const std::string& what,
                                                            node_share share);
  /// `what` and every part of it.
  void release(const std::string& what);

  /// The node will go: it gets nothing new. Gives what it hosts; empty for an idle or unknown one.
  std::vector<std::string> set_leaving(const node_id& node);
  [[nodiscard]] std::vector<std::string> hosting(const node_id& node) const;

  [[nodiscard]] std::uint32_t num_of(node_role role) const;
  [[nodiscard]] std::vector<node_status> status(std::uint64_t now_ms) const;

 private:
  struct known_node {
    node_role role = node_role::trainer;
    std::uint64_t process_id = 0;
    std::uint32_t slots = 1;
    std::uint64_t renewed_ms = 0;
    std::vector<std::string> hosting;
    bool is_leaving = false;
    node_share share = node_share::slot;  ///< of what it hosts

    [[nodiscard]] std::uint32_t free_slots() const;
  };

  std::map<node_id, known_node> nodes_;
};

}  // namespace troupe::logic
