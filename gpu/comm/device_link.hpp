#pragma once

// What a communicator asks of the library that joins devices: operations that are started, asked
// about and abandoned, never waited for. All waiting stands above this seam (device_comm), where it
// needs no device; below it is one thin adapter (nccl_comm).
//
// One operation at a time. It begins after what the device was given before, a gather perhaps
// after less of that, and what the device is given after finish() may read its result.
//
// Units: elements of float; spans lie in memory of the device or of the host.
// Threading: one thread, but now() from any. Errors: errc::engine with the library's words; only
// abort() is left then.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "gpu/comm.hpp"
#include "messages/error.hpp"

namespace troupe::gpu {

/// What the ranks of one set join under; rank 0 makes it.
using link_id = std::array<std::byte, 128>;

class device_link {
 public:
  virtual ~device_link() = default;

  [[nodiscard]] virtual result<link_id> make_id() = 0;

  virtual result<void> start_joining(const link_id& id, std::uint32_t rank,
                                     std::uint32_t world_size) = 0;

  [[nodiscard]] virtual result<device_moment> now() = 0;

  /// all[r * mine.size() ...] becomes rank r's `mine`. A null `after` is the moment of the call.
  virtual result<void> start_gather(const device_moment& after, std::span<const float> mine,
                                    std::span<float> all) = 0;

  /// mine becomes the sum, in rank order, of the ranks' parts for this rank.
  virtual result<void> start_scatter(std::span<const float> all, std::span<float> mine) = 0;

  /// Whether what was started has ended. Never blocks.
  [[nodiscard]] virtual result<bool> is_done() = 0;

  /// Makes the result of the ended operation visible in its spans.
  virtual result<void> finish() = 0;

  /// Ends whatever was started; the spans are then free again. errc::engine after a while when the
  /// device hangs: they are then lost with the process.
  virtual result<void> abort() = 0;
};

}  // namespace troupe::gpu
