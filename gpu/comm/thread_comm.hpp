#pragma once

// Ranks as threads of one process: the communicator of tests, and of a set that lives in one
// program. A rank hands the others a copy of what it brings, so that a rank which fails or times
// out never pulls memory away under a peer.
//
// Threading: each returned comm belongs to one thread; abort() may come from any.
// Errors: as comm. errc::internal when ranks make different calls.

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "config/deadlines.hpp"
#include "gpu/comm.hpp"

namespace troupe::gpu {

/// One comm per rank. Destroying one is the death of its rank.
[[nodiscard]] std::vector<std::unique_ptr<comm>> make_thread_comms(
    std::uint32_t world_size, std::chrono::milliseconds deadline = deadlines::collective);

}  // namespace troupe::gpu
