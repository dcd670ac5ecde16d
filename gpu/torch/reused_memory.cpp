#include "gpu/torch/reused_memory.hpp"

#include <cstring>
#include <memory>

#include <c10/core/CPUAllocator.h>

#include "config/limits.hpp"
#include "gpu/reusing_heap.hpp"

namespace troupe::gpu {
namespace {

reusing_heap& heap_of_this_process() {
  // Tensors may be freed while the process exits, so it is never destroyed.
  static auto* const heap =
      std::make_unique<reusing_heap>(limits::reused_tensor_bytes_max).release();
  return *heap;
}

void release(void* block) {
  if (block != nullptr) heap_of_this_process().free(block);
}

class reusing_allocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* const block = bytes == 0 ? nullptr : heap_of_this_process().allocate(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

}  // namespace

void reuse_tensor_memory() {
  static reusing_allocator allocator;
  c10::SetCPUAllocator(&allocator);
}

}  // namespace troupe::gpu
