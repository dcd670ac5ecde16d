#include "apps/node/memory_nodes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <hwloc.h>

namespace troupe::node {
namespace {

using topology = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;
using bitmap = std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)>;

bitmap make_bitmap() {
  return {hwloc_bitmap_alloc(), &hwloc_bitmap_free};
}

tl::unexpected<error> refused(const std::string& what) {
  return fail(errc::engine, what + ": " + std::strerror(errno),
              "the system does not allow it, as in many containers",
              "nothing; speed may depend on where threads happen to run");
}

result<topology> read_topology(const std::string& described) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return refused("cannot prepare to read the topology");
  topology made(raw, &hwloc_topology_destroy);
  if (!described.empty() && hwloc_topology_set_synthetic(raw, described.c_str()) != 0)
    return refused("'" + described + "' describes no machine");
  if (hwloc_topology_load(raw) != 0) return refused("cannot read the machine's topology");
  return made;
}

/// Those with cores; there are others, of memory alone.
std::vector<hwloc_obj_t> nodes_with_cores(hwloc_topology_t of) {
  std::vector<hwloc_obj_t> nodes;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(of, HWLOC_OBJ_NUMANODE, node)) != nullptr)
    if (hwloc_bitmap_iszero(node->cpuset) == 0) nodes.push_back(node);
  return nodes;
}

std::string list_of(const bitmap& set) {
  char* text = nullptr;
  if (hwloc_bitmap_list_asprintf(&text, set.get()) < 0) return {};
  const std::unique_ptr<char, decltype(&std::free)> owned(text, &std::free);
  return text;
}

struct place_sets {
  bitmap cores = make_bitmap();
  bitmap nodes = make_bitmap();

  memory_place listed() const { return {list_of(cores), list_of(nodes)}; }
  bool is_empty() const { return hwloc_bitmap_iszero(nodes.get()) != 0; }
};

place_sets place_in(hwloc_topology_t machine, machine_share share) {
  place_sets place;
  const std::vector<hwloc_obj_t> nodes = nodes_with_cores(machine);
  if (nodes.size() < 2) return place;
  const node_range range = nodes_of(share, static_cast<std::uint32_t>(nodes.size()));
  for (std::uint32_t i = range.first; i < range.end; ++i) {
    hwloc_bitmap_or(place.cores.get(), place.cores.get(), nodes[i]->cpuset);
    hwloc_bitmap_or(place.nodes.get(), place.nodes.get(), nodes[i]->nodeset);
  }
  return place;
}

result<void> bind_to(hwloc_topology_t machine, const place_sets& place) {
  if (hwloc_set_cpubind(machine, place.cores.get(), HWLOC_CPUBIND_THREAD) != 0)
    return refused("cannot stay on cores " + list_of(place.cores));
  const bool has_several = hwloc_bitmap_weight(place.nodes.get()) > 1;
  const auto policy = has_several ? HWLOC_MEMBIND_INTERLEAVE : HWLOC_MEMBIND_BIND;
  if (hwloc_set_membind(machine, place.nodes.get(), policy,
                        HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET) != 0)
    return refused("cannot keep memory on node " + list_of(place.nodes));
  return {};
}

}  // namespace

node_range nodes_of(machine_share share, std::uint32_t num_nodes) {
  const std::uint64_t first = std::uint64_t{share.index} * num_nodes / share.count;
  const std::uint64_t end = (std::uint64_t{share.index} + 1) * num_nodes / share.count;
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(std::max(end, first + 1))};
}

result<memory_place> find_place(machine_share share, const std::string& described) {
  const auto machine = read_topology(described);
  if (!machine) return fail(machine.error());
  return place_in(machine->get(), share).listed();
}

result<memory_place> stay_near(machine_share share) {
  const auto machine = read_topology({});
  if (!machine) return fail(machine.error());
  const place_sets place = place_in(machine->get(), share);
  if (place.is_empty()) return memory_place{};
  if (auto ok = bind_to(machine->get(), place); !ok) return fail(std::move(ok.error()));
  return place.listed();
}

}  // namespace troupe::node
