#pragma once

// How nodes find each other and what the control node tells them to host.
//
// Threading: plain values.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "messages/ids.hpp"
#include "messages/model.hpp"

namespace troupe {

/// Version of everything below and of every other message; both sides must be equal.
inline constexpr std::uint32_t protocol_version = 1;

enum class node_role : std::uint8_t { control = 0, trainer = 1, sampler = 2, client = 3 };

[[nodiscard]] std::string_view to_string(node_role role);

/// How something uses a node: alone, or beside others that take a slot each.
enum class node_share : std::uint8_t { whole = 0, slot = 1 };

/// First message to the published front door of the control node.
struct attach_request {
  std::uint32_t protocol = protocol_version;
  std::string cluster;     ///< cluster id: a node of another cluster is refused
  std::string join_token;  ///< shared secret of the cluster, from its data folder
  node_id node;
  node_role role = node_role::client;
  std::uint64_t process_id = 0;
  std::uint32_t slots = 1;  ///< adapter runs that may share the node, 1 to node_slots_max
  bool operator==(const attach_request&) const = default;
};

struct attach_reply {
  std::string cluster;
  node_id control;
  std::string storage_root;    ///< absolute; nodes that train or sample must see it
  std::uint32_t lease_ms = 0;  ///< renew well within
  bool operator==(const attach_reply&) const = default;
};

struct renew_lease_request {
  node_id node;
  bool operator==(const renew_lease_request&) const = default;
};

/// A node was told to go (SIGTERM). Answered when nothing depends on it any more: what it trained
/// has a snapshot and lives elsewhere.
struct node_leaving_request {
  node_id node;
  bool operator==(const node_leaving_request&) const = default;
};

struct node_status {
  node_id node;
  node_role role = node_role::trainer;
  std::uint64_t process_id = 0;
  std::string hosting;             ///< "run X", "run X, run Y", "deployment Z" or empty
  std::uint64_t last_seen_ms = 0;  ///< age of the last lease renewal
  std::uint32_t slots = 1;
  std::uint32_t free_slots = 0;  ///< all of them: nothing is hosted
  bool operator==(const node_status&) const = default;
};

struct cluster_status_request {
  bool operator==(const cluster_status_request&) const = default;
};

/// Ends the cluster in order: shards, samplers and the store are closed, then every node exits.
struct shutdown_request {
  std::string reason;
  bool operator==(const shutdown_request&) const = default;
};

/// Answer of requests that only succeed or fail.
struct done {
  bool operator==(const done&) const = default;
};

}  // namespace troupe
