#include <cuda_runtime.h>

#include "gpu/kernels/device_count.hpp"

namespace troupe::gpu::kernels {

int num_devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace troupe::gpu::kernels
