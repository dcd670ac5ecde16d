#pragma once

// A communicator of ranks with a device each. Weights and gradients go from device to device; what
// is small, and the agreement on what comes next, goes over a second communicator between the
// hosts. Before every transfer the ranks meet there, because a device library that waits for a rank
// can neither say which one nor stop by itself: so a missing rank is named, ranks that make
// different calls are told so, and a dead one is noticed at once. What hangs after that is ended at
// the deadline.
//
// A subset of its ranks joins its own devices at its first transfer.
//
// Sums are taken in rank order, as in every communicator, which the reductions of device libraries
// do not promise.
//
// Units, threading, errors: as comm; spans may lie in memory of this rank's device.
// Invariants: DEVICE-1 no call outlasts two deadlines, whatever the device does.
//             DEVICE-2 after an error the link has been aborted, and no span is touched any more;
//             one whose device hangs fails with errc::engine, and its process cannot go on.

#include <chrono>
#include <functional>
#include <memory>

#include "config/deadlines.hpp"
#include "gpu/comm.hpp"
#include "gpu/comm/device_link.hpp"

namespace troupe::gpu {

/// Opens a link that has joined nobody yet.
using link_maker = std::function<result<std::unique_ptr<device_link>>()>;

/// All ranks join within the deadline. `hosts` has formed already.
[[nodiscard]] result<std::unique_ptr<comm>> join_devices(
    std::unique_ptr<comm> hosts, link_maker open,
    std::chrono::milliseconds deadline = deadlines::collective);

}  // namespace troupe::gpu
