#include "gpu/torch/devices.hpp"

#include <cstdlib>
#include <string>
#include <utility>

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>

namespace troupe::gpu {

namespace {

constexpr const char* workspace_variable = "CUBLAS_WORKSPACE_CONFIG";

/// Read when the library first multiplies; with others results depend on what ran before.
result<void> fix_workspaces() {
  const char* const configured = std::getenv(workspace_variable);
  const std::string value = configured == nullptr ? "" : configured;
  if (value == ":4096:8" || value == ":16:8") return {};
  if (value.empty()) {
    setenv(workspace_variable, ":4096:8", /*overwrite=*/1);
    return {};
  }
  std::string what = workspace_variable;
  what.append(" is \"").append(value).append(
      "\", so products on a GPU would not repeat their bits");
  return fail(errc::invalid_argument, std::move(what), "it was set for another program",
              "unset it, or set it to :4096:8 or :16:8, before this process starts");
}

}  // namespace

result<void> load_gpu_library() {
  if (auto ok = fix_workspaces(); !ok) return ok;
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* const words = dlerror();
    return fail(errc::engine_not_built,
                std::string("the maths library cannot use GPUs: ") +
                    (words == nullptr ? "it does not load" : words),
                "a libtorch without CUDA, or an incomplete one",
                "install it with scripts/bootstrap.sh, or set device to cpu");
  }
  // With warnings only, attention's backward would still add in any order.
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // It would fill all new memory besides; nothing here reads what it has not written.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  return {};
}

std::uint32_t num_gpus() {
  if (!c10::impl::hasDeviceGuardImpl(c10::kCUDA)) return 0;
  return static_cast<std::uint32_t>(c10::impl::getDeviceGuardImpl(c10::kCUDA)->deviceCount());
}

std::uint64_t memory_for_tensors(std::uint32_t gpu) {
  at::globalContext().lazyInitDevice(c10::kCUDA);
  const auto device = static_cast<c10::DeviceIndex>(gpu);
  c10::DeviceAllocator* const memory = c10::getDeviceAllocator(c10::kCUDA);
  memory->emptyCache();
  constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto taken = memory->getDeviceStats(device).reserved_bytes[all].current;
  return memory->getMemoryInfo(device).first + static_cast<std::uint64_t>(taken);
}

void wait_for_gpu(std::uint32_t gpu) {
  c10::impl::getDeviceGuardImpl(c10::kCUDA)->synchronizeDevice(static_cast<c10::DeviceIndex>(gpu));
}

}  // namespace troupe::gpu
