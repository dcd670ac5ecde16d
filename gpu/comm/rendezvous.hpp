#pragma once

// How the ranks of a set find each other: rank r connects to every lower rank and is called by
// every higher one. All handshakes run side by side under one deadline; whoever calls without the
// token is refused and forgotten, and cannot hold up the others.
//
// Threading: one thread. Errors: errc::timeout names the ranks that did not come, errc::peer_lost
// an unreachable one, errc::protocol one that refused this rank.

#include <chrono>
#include <string>
#include <vector>

#include "gpu/comm/rank_hello.hpp"
#include "gpu/comm/socket.hpp"
#include "messages/error.hpp"

namespace troupe::gpu {

/// Connections by rank; the own place stays empty.
[[nodiscard]] result<std::vector<descriptor>> meet_ranks(const rank_hello& self,
                                                         const descriptor& listener,
                                                         const std::vector<std::string>& addresses,
                                                         std::chrono::milliseconds deadline);

}  // namespace troupe::gpu
