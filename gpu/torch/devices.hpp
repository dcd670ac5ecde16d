#pragma once

// The GPUs of this process, as the maths library sees them. Its half for GPUs is more than a
// gigabyte of code that the processor's half does not need, so a process loads it when it is told
// to use one.
//
// Threading: load_gpu_library before other threads use the library or the environment. Errors:
// errc::engine_not_built when the half for GPUs is not installed or does not load,
// errc::invalid_argument when the environment asks cuBLAS for bits that do not repeat.

#include <cstddef>
#include <cstdint>

#include "messages/error.hpp"

namespace troupe::gpu {

/// Repeating it is harmless.
[[nodiscard]] result<void> load_gpu_library();

/// 0 also without a driver. Requires: load_gpu_library().
[[nodiscard]] std::uint32_t num_gpus();

/// Bytes that tensors of this process have or may have: what is free, and what the maths library
/// took already. Gives back first what that keeps without a use, which only it could use again.
/// Requires: gpu < num_gpus().
[[nodiscard]] std::uint64_t memory_for_tensors(std::uint32_t gpu);

/// Waits for what the GPU was given; throws what the library does when it is lost to this process.
/// Requires: gpu < num_gpus().
void wait_for_gpu(std::uint32_t gpu);

}  // namespace troupe::gpu
