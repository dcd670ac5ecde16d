#pragma once

// What an engine may use of a GPU for activations. Its state must fit first, a part is left to the
// maths library's workspaces and to fragmentation, and the rest goes to batches: so a model or a
// batch that cannot fit is refused with numbers before it starts, instead of failing in the middle.
//
// Units: bytes. Threading: pure. Errors: errc::no_capacity when the state alone does not fit.

#include <cstddef>
#include <cstdint>

#include "config/limits.hpp"
#include "gpu/models/sharding.hpp"
#include "messages/error.hpp"

namespace troupe::gpu {

struct activation_budget {
  std::size_t batch = 0;   ///< of one batch at the least
  std::size_t kept = 0;    ///< of passes kept for their backward
  std::size_t logits = 0;  ///< of those, logits of one batch
};

/// Of a rank: shards of weights, and for what is trained moments and gradients, and the buffers
/// through which groups are gathered and reduced, those of the communicators among them.
[[nodiscard]] std::uint64_t trained_state_bytes(
    const sharding_plan& plan,
    std::uint64_t whole_gradient_bytes = limits::whole_gradient_bytes_max);
[[nodiscard]] std::uint64_t frozen_state_bytes(const sharding_plan& plan);

/// What engines of one process have of a GPU together.
struct device_room {
  std::uint64_t bytes = 0;    ///< for all their tensors
  std::uint64_t states = 0;   ///< of all of them, the one that asks included
  std::uint64_t granted = 0;  ///< activations of the others
  std::uint32_t sharers = 1;  ///< that may stand beside each other
};

/// For the one that asks: its part of what the states leave, as far as the others left it.
[[nodiscard]] result<activation_budget> share_device(const device_room& room);

}  // namespace troupe::gpu
