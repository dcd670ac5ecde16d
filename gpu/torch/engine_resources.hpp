#pragma once

// What an engine may use of its process. What a forward pass cannot keep for its backward is
// computed again, from the inputs of the blocks; the bits are the same.
//
// Units: bytes. Threading: plain values.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "config/limits.hpp"
#include "gpu/engine_factory.hpp"
#include "gpu/parallel.hpp"
#include "gpu/torch/placement.hpp"

namespace troupe::gpu {

/// When weights of other ranks move: while the block before computes, or when a block needs them.
enum class gathering : std::uint8_t { ahead, on_demand };

struct engine_resources {
  std::shared_ptr<thread_pool> threads;  ///< null: the calling thread alone
  std::size_t kept_activation_bytes = limits::kept_activation_bytes_max;
  std::size_t batch_activation_bytes = limits::batch_activation_bytes_max;
  compute_type compute = compute_type::fp32;
  placement place{};
  std::size_t kept_logit_bytes = limits::kept_logit_bytes_max;
  gathering gathers = gathering::ahead;
  std::size_t whole_gradient_bytes = limits::whole_gradient_bytes_max;
  /// Of the device, kept until the engine's tensors are gone; null on the processor.
  std::shared_ptr<const void> place_on_device = nullptr;
};

}  // namespace troupe::gpu
