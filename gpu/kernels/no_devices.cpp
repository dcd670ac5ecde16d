// What a build without CUDA has in place of kernels for GPUs.

#include "gpu/kernels/device_count.hpp"
#include "gpu/kernels/device_table.hpp"

namespace troupe::gpu::kernels {

int num_devices() {
  return 0;
}

const device_table* device_kernels() {
  return nullptr;
}

}  // namespace troupe::gpu::kernels
