#include "gpu/torch/reused_memory.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include "config/limits.hpp"

namespace troupe::gpu {
namespace {

constexpr std::size_t huge_page = 2 * limits::mebibyte;
constexpr std::size_t line = 64;

/// Sizes are rounded up to eight steps per power of two, so that similar batches share blocks.
std::size_t rounded(std::size_t bytes) {
  const std::size_t step = std::max<std::size_t>(line, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

class reusing_allocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* const block = bytes == 0 ? nullptr : take(rounded(bytes));
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }

  static reusing_allocator& of_this_process() {
    // Tensors may be freed while the process exits, so it is never destroyed.
    static auto* const allocator = std::make_unique<reusing_allocator>().release();
    return *allocator;
  }

 private:
  void* take(std::size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = free_.find(bytes);
      if (found != free_.end() && !found->second.empty()) {
        void* const block = found->second.back();
        found->second.pop_back();
        free_bytes_ -= bytes;
        return block;
      }
    }
    const std::size_t alignment = bytes >= huge_page ? huge_page : line;
    void* block = nullptr;
    if (posix_memalign(&block, alignment, bytes) != 0) throw std::bad_alloc();
    // Only advice: without huge pages the block is as good. The rest would be one more whole page.
    if (bytes >= huge_page) madvise(block, bytes / huge_page * huge_page, MADV_HUGEPAGE);
    const std::lock_guard lock(mutex_);
    bytes_of_[block] = bytes;
    return block;
  }

  void give(void* block) {
    {
      const std::lock_guard lock(mutex_);
      const std::size_t bytes = bytes_of_.at(block);
      if (free_bytes_ + bytes <= limits::reused_tensor_bytes_max) {
        free_[bytes].push_back(block);
        free_bytes_ += bytes;
        return;
      }
      bytes_of_.erase(block);
    }
    std::free(block);
  }

  static void release(void* data) {
    if (data != nullptr) of_this_process().give(data);
  }

  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  std::size_t free_bytes_ = 0;
  /// Beside the blocks, not in them: a header would push sizes that are powers of two, which most
  /// are, into the next step.
  std::unordered_map<void*, std::size_t> bytes_of_;
};

}  // namespace

void reuse_tensor_memory() {
  c10::SetCPUAllocator(&reusing_allocator::of_this_process());
}

}  // namespace troupe::gpu
