#pragma once

// Ranks on the GPUs of this machine, for tests that run where there are some. A build without CUDA
// has none.
//
// Threading: pure. Errors: those of listen_for_devices.

#include <cstdint>
#include <memory>

#include "gpu/comm.hpp"
#include "gpu/comm/socket_comm.hpp"

namespace troupe::tests {

/// One for each GPU.
[[nodiscard]] std::uint32_t num_gpu_ranks();

/// Rank r on GPU r. Requires: rank < num_gpu_ranks().
[[nodiscard]] result<std::unique_ptr<gpu::comm_listener>> listen_for_gpu_rank(
    const gpu::socket_comm_options& options);

}  // namespace troupe::tests
