#include "tests/support/gpu_ranks.hpp"

#include "gpu/comm/nccl_comm.hpp"
#include "gpu/kernels/device_count.hpp"

namespace troupe::tests {

std::uint32_t num_gpu_ranks() {
  return static_cast<std::uint32_t>(gpu::kernels::num_devices());
}

result<std::unique_ptr<gpu::comm_listener>> listen_for_gpu_rank(
    const gpu::socket_comm_options& options) {
  return gpu::listen_for_devices(options, static_cast<int>(options.rank));
}

}  // namespace troupe::tests
