#pragma once

// A heap for large blocks that keeps the pages of freed ones. A training step asks for the same
// memory again and again, and pages that go back to the kernel in between come back zeroed, one
// fault at a time. What is free is joined and cut as needed, so that the gradient of a block of a
// model lies where activations have been. Its addresses ask for huge pages, which products that
// stream through them notice.
//
// Units: bytes. Threading: locked. Errors: std::bad_alloc when memory runs out.
// Invariants: HEAP-1 blocks begin at a cache line. HEAP-2 of pages that lie wholly in freed blocks,
// at most `kept_bytes_max` bytes stay, and what is smaller than a huge page.

#include <cstddef>
#include <memory>
#include <mutex>

namespace troupe::gpu {

class reusing_heap {
 public:
  /// Smaller blocks are left to malloc, so that they do not lie between large ones.
  static constexpr std::size_t block_bytes_min = 32 * std::size_t{1024};

  explicit reusing_heap(std::size_t kept_bytes_max);
  ~reusing_heap();
  reusing_heap(const reusing_heap&) = delete;
  reusing_heap& operator=(const reusing_heap&) = delete;

  /// Uninitialised. Requires: bytes > 0.
  [[nodiscard]] void* allocate(std::size_t bytes);
  /// Requires: `block` is of allocate() of this heap and was not freed.
  void free(void* block);

 private:
  class region;

  [[nodiscard]] bool holds(const void* block) const;

  const std::size_t kept_bytes_max_;
  std::mutex mutex_;
  std::unique_ptr<region> region_;  ///< null where the system does not allow one
  std::size_t kept_bytes_ = 0;
};

}  // namespace troupe::gpu
