#include "gpu/torch/placement.hpp"

#include <utility>

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {
namespace {

thread_local placement current;

}  // namespace

placement_scope::placement_scope(const placement& place) : outer_(std::exchange(current, place)) {
  // Kernels of this project start on the thread's device; a process has one, so it stays chosen.
  if (place.gpu) c10::impl::getDeviceGuardImpl(c10::kCUDA)->setDevice(current_device());
}

placement_scope::~placement_scope() {
  current = outer_;
}

const placement& current_placement() {
  return current;
}

c10::Device current_device() {
  if (!current.gpu) return c10::Device(c10::kCPU);
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(*current.gpu)};
}

bool uses_library() {
  return current.code == op_code::library;
}

}  // namespace troupe::gpu
