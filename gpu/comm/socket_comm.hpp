#pragma once

// Ranks as processes, joined by TCP: every pair of ranks holds one connection. For a reduce_scatter
// each rank sends every peer the part that peer owns and adds what it receives in rank order, so
// the sum never depends on which bytes came first. All transfers of a collective run at once, both
// directions together, which keeps large buffers from blocking each other.
//
// A mesh is right for the few ranks of machines without GPUs; it is not meant for hundreds.
//
// Units: elements of float; deadlines in milliseconds. Threading: as comm.
// Errors: as comm; errc::protocol when a peer refuses the handshake, errc::invalid_argument for an
// address that is not numeric, errc::in_use when the interface cannot be bound.
// Invariants: COMM-1 a peer without the token never becomes a rank.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "config/deadlines.hpp"
#include "gpu/comm.hpp"

namespace troupe::gpu {

struct socket_comm_options {
  std::uint32_t rank = 0;
  std::uint32_t world_size = 1;
  std::string token;                    ///< shared by the ranks, at most comm_token_bytes_max
  std::string interface = "127.0.0.1";  ///< numeric address on which peers reach this rank
  std::chrono::milliseconds deadline = deadlines::collective;
};

[[nodiscard]] result<std::unique_ptr<comm_listener>> listen_for_ranks(socket_comm_options options);

}  // namespace troupe::gpu
