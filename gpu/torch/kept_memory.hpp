#pragma once

// How much of a forward pass may stay in memory for its backward. What does not fit is computed
// again, from the inputs of the blocks; the bits are the same.
//
// Units: bytes. Threading: plain values.

#include <cstddef>

#include "config/limits.hpp"

namespace troupe::gpu {

struct kept_memory {
  std::size_t activation_bytes = limits::kept_activation_bytes_max;
  std::size_t logit_bytes = limits::kept_logit_bytes_max;
};

}  // namespace troupe::gpu
