#include "actors/logic/node_registry.hpp"

#include "config/limits.hpp"

namespace troupe::logic {

result<void> node_registry::join(const attach_request& node, std::uint64_t now_ms) {
  if (nodes_.contains(node.node)) {
    return fail(errc::already_exists, "node " + node.node.value + " has joined already",
                "two processes use one node name", "give each node its own name");
  }
  if (nodes_.size() >= limits::nodes_max) {
    return fail(errc::busy, "the cluster has " + std::to_string(nodes_.size()) + " nodes already",
                "", "raise the limit and rebuild");
  }
  nodes_.emplace(node.node, known_node{node.role, node.process_id, {}, now_ms});
  return {};
}

void node_registry::leave(const node_id& node) {
  nodes_.erase(node);
}

bool node_registry::renew(const node_id& node, std::uint64_t now_ms) {
  const auto known = nodes_.find(node);
  if (known == nodes_.end()) return false;
  known->second.renewed_ms = now_ms;
  return true;
}

std::vector<node_id> node_registry::expired(std::uint64_t now_ms, std::uint64_t lease_ms) const {
  std::vector<node_id> out;
  for (const auto& [id, node] : nodes_) {
    if (now_ms - node.renewed_ms > lease_ms) out.push_back(id);
  }
  return out;
}

std::optional<std::vector<node_id>> node_registry::acquire(node_role role, std::uint32_t count,
                                                           const std::string& what) {
  std::vector<node_id> taken;
  for (const auto& [id, node] : nodes_) {
    if (taken.size() < count && node.role == role && node.hosting.empty()) taken.push_back(id);
  }
  if (taken.size() < count) return std::nullopt;
  for (const node_id& id : taken)
    nodes_[id].hosting = what;
  return taken;
}

void node_registry::release(const std::string& what) {
  for (auto& [id, node] : nodes_) {
    if (node.hosting == what) node.hosting.clear();
  }
}

std::uint32_t node_registry::num_of(node_role role) const {
  std::uint32_t count = 0;
  for (const auto& [id, node] : nodes_)
    count += node.role == role ? 1U : 0U;
  return count;
}

std::vector<node_status> node_registry::status(std::uint64_t now_ms) const {
  std::vector<node_status> out;
  for (const auto& [id, node] : nodes_) {
    out.push_back({id, node.role, node.process_id, node.hosting, now_ms - node.renewed_ms});
  }
  return out;
}

}  // namespace troupe::logic
