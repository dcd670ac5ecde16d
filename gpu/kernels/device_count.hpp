#pragma once

// Whether there is a GPU, for programs that include no CUDA header.
//
// Threading: pure.

namespace troupe::gpu::kernels {

/// 0 also when there is no driver.
[[nodiscard]] int num_devices();

}  // namespace troupe::gpu::kernels
