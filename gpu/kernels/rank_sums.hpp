#pragma once

// The sum over ranks of what each sent, in rank order: the bits of every other communicator, which
// the reductions of a device library would give for two ranks only.
//
// Shapes: parts [ranks, count], sum [count].
// Threading: asynchronous on the stream. Errors: errc::engine when a launch is refused.
// Invariants: RANK-SUM-1 each element is ((p0 + p1) + p2) + ... in fp32.

#include "gpu/kernels/device_kernel.hpp"
#include "messages/error.hpp"

namespace troupe::gpu::kernels {

struct rank_sum {
  std::size_t ranks = 0;
  std::size_t count = 0;
  const float* parts = nullptr;
  float* sum = nullptr;  ///< may be the first part
};

/// On memory of the host.
void sum_ranks_reference(const rank_sum& task);

/// On memory of the device.
[[nodiscard]] result<void> sum_ranks(const rank_sum& task, device_stream stream);

/// Against the reference, bit for bit, and its time.
[[nodiscard]] result<std::vector<kernel_report>> check_sum_ranks(std::size_t ranks,
                                                                 std::size_t count);

}  // namespace troupe::gpu::kernels
