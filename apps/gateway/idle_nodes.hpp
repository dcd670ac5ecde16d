#pragma once

// Are there nodes with room for something new? Nodes that are busy with something else are told of
// at once; nodes that have not joined are waited for, because after a restart of the control node
// they need a moment to come back.
//
// Threading: the loop's thread. Errors: errc::no_capacity, those of the control node.

#include <functional>

#include "apps/gateway/cluster_link.hpp"
#include "messages/cluster.hpp"

namespace troupe::gateway {

void await_idle_nodes(cluster_link& link, node_role role, node_share share, std::uint32_t count,
                      std::function<void(result<void>)> then);

}  // namespace troupe::gateway
