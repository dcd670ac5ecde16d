#pragma once

// Ranks with a GPU each, joined by NCCL: over NVLink in a machine, over its network between
// machines. NCCL is run non-blocking and beside the stream that computes, on one of its own; all
// waiting is device_comm's.
//
// A reduction is an exchange of parts and a sum in rank order (kernels/rank_sums): what a ring
// sends, but the bits of every other communicator.
//
// Units: elements of float. Spans in host memory are copied to the device and back, which is for
// tests; an engine's lie on the device. Threading, errors: as device_comm; errc::engine when there
// is no such device.

#include <memory>

#include "gpu/comm.hpp"
#include "gpu/comm/socket_comm.hpp"

namespace troupe::gpu {

/// Ranks meet over TCP as in socket_comm, then join their devices. `device` as CUDA counts those
/// this process sees.
[[nodiscard]] result<std::unique_ptr<comm_listener>> listen_for_devices(socket_comm_options ranks,
                                                                        int device);

}  // namespace troupe::gpu
