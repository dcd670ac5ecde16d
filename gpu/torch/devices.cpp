#include "gpu/torch/devices.hpp"

#include <cstdlib>
#include <string>

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>

namespace troupe::gpu {

result<void> load_gpu_library() {
  // Read when the library first multiplies; without it results depend on what ran before.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* const words = dlerror();
    return fail(errc::engine_not_built,
                std::string("the maths library cannot use GPUs: ") +
                    (words == nullptr ? "it does not load" : words),
                "a libtorch without CUDA, or an incomplete one",
                "install it with scripts/bootstrap.sh, or set device to cpu");
  }
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  // It would fill all new memory besides; nothing here reads what it has not written.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  return {};
}

std::uint32_t num_gpus() {
  if (!c10::impl::hasDeviceGuardImpl(c10::kCUDA)) return 0;
  return static_cast<std::uint32_t>(c10::impl::getDeviceGuardImpl(c10::kCUDA)->deviceCount());
}

std::uint64_t free_gpu_memory(std::uint32_t gpu) {
  at::globalContext().lazyInitDevice(c10::kCUDA);
  return c10::getDeviceAllocator(c10::kCUDA)
      ->getMemoryInfo(static_cast<c10::DeviceIndex>(gpu))
      .first;
}

}  // namespace troupe::gpu
