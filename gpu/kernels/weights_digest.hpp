#pragma once

// The digest of messages/state_digest.hpp over weights that lie on a GPU, so that naming the state
// after each step moves two numbers instead of all weights.
//
// Shapes: weights [count] of one parameter, from element `first` on; sums of 2.
// Threading: asynchronous on the stream. Errors: errc::engine when a launch is refused.
// Invariants: DIGEST-1 the bits of the processor's digest, in any order of summation.

#include <cstdint>

#include "gpu/kernels/device_kernel.hpp"
#include "messages/error.hpp"

namespace troupe::gpu::kernels {

struct digest_elements {
  std::uint32_t parameter = 0;
  std::uint64_t first = 0;
  std::size_t count = 0;
  const float* weights = nullptr;
  std::uint64_t* sums = nullptr;  ///< low and high, added to modulo 2^64
};

/// On memory of the host.
void weights_digest_reference(const digest_elements& task);

/// On memory of the device.
[[nodiscard]] result<void> weights_digest(const digest_elements& task, device_stream stream);

/// Against the reference, bit for bit, and its time.
[[nodiscard]] result<std::vector<kernel_report>> check_weights_digest(std::size_t count);

}  // namespace troupe::gpu::kernels
