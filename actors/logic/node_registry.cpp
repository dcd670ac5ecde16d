#include "actors/logic/node_registry.hpp"

#include <algorithm>

#include "config/limits.hpp"
#include "config/planted_bug.hpp"

namespace troupe::logic {

bool is_within(const std::string& hosted, const std::string& what) {
  return hosted == what || hosted.starts_with(what + "/");
}

std::uint32_t node_registry::known_node::free_slots() const {
  if (hosting.empty()) return slots;
  if (share == node_share::whole) return 0;
  return slots - std::min(slots, static_cast<std::uint32_t>(hosting.size()));
}

result<void> node_registry::join(const attach_request& node, std::uint64_t now_ms) {
  if (nodes_.contains(node.node)) {
    return fail(errc::already_exists, "node " + node.node.value + " has joined already",
                "two processes use one node name", "give each node its own name");
  }
  if (nodes_.size() >= limits::nodes_max) {
    return fail(errc::busy, "the cluster has " + std::to_string(nodes_.size()) + " nodes already",
                "", "raise the limit and rebuild");
  }
  known_node joined;
  joined.role = node.role;
  joined.process_id = node.process_id;
  joined.slots = node.slots;
  joined.renewed_ms = now_ms;
  nodes_.emplace(node.node, std::move(joined));
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
  if (config::is_planted(config::bug::lease_never_expires)) return out;
  for (const auto& [id, node] : nodes_) {
    if (now_ms - node.renewed_ms > lease_ms) out.push_back(id);
  }
  return out;
}

std::optional<std::vector<node_id>> node_registry::acquire(node_role role, std::uint32_t count,
                                                           const std::string& what,
                                                           node_share share) {
  std::vector<node_id> taken;
  for (const auto& [id, node] : nodes_) {
    const bool is_new = std::count(node.hosting.begin(), node.hosting.end(), what) == 0;
    const bool has_room = share == node_share::slot ? node.free_slots() > 0 : node.hosting.empty();
    const bool stays = !node.is_leaving || config::is_planted(config::bug::leaving_node_granted);
    if (node.role == role && is_new && has_room && stays) taken.push_back(id);
  }
  if (taken.size() < count) return std::nullopt;
  std::stable_sort(taken.begin(), taken.end(), [this](const node_id& a, const node_id& b) {
    return nodes_[a].hosting.size() < nodes_[b].hosting.size();
  });
  taken.resize(count);
  for (const node_id& id : taken) {
    nodes_[id].hosting.push_back(what);
    nodes_[id].share = share;
  }
  return taken;
}

void node_registry::release(const std::string& what) {
  for (auto& [id, node] : nodes_) {
    std::erase_if(node.hosting, [&what](const auto& hosted) { return is_within(hosted, what); });
  }
}

std::vector<std::string> node_registry::set_leaving(const node_id& node) {
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) known->second.is_leaving = true;
  return hosting(node);
}

std::vector<std::string> node_registry::hosting(const node_id& node) const {
  const auto known = nodes_.find(node);
  return known == nodes_.end() ? std::vector<std::string>() : known->second.hosting;
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
    std::string hosting;
    for (const std::string& what : node.hosting)
      hosting += (hosting.empty() ? "" : ", ") + what;
    out.push_back({id, node.role, node.process_id, std::move(hosting), now_ms - node.renewed_ms,
                   node.slots, node.free_slots()});
  }
  return out;
}

}  // namespace troupe::logic
