#include "gpu/reusing_heap.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <boost/interprocess/indexes/null_index.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include "config/limits.hpp"

namespace troupe::gpu {
namespace {

namespace ipc = boost::interprocess;

constexpr std::size_t huge_page = 2 * limits::mebibyte;
constexpr std::size_t line = 64;

std::uintptr_t address_of(const void* block) {
  return reinterpret_cast<std::uintptr_t>(block);
}

/// As much as the machine has.
std::size_t machine_bytes() {
  const auto pages = static_cast<std::size_t>(std::max(1L, sysconf(_SC_PHYS_PAGES)));
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / huge_page * huge_page;
}

/// The huge pages that lie within a block; its neighbours and the heap's notes need the others.
void give_pages_back(void* block, std::size_t bytes) {
  const std::uintptr_t first = (address_of(block) + huge_page) / huge_page * huge_page;
  const std::uintptr_t last = (address_of(block) + bytes) / huge_page * huge_page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

/// Addresses whose pages come when they are used, and the best fit within them.
class reusing_heap::region {
 public:
  explicit region(std::size_t bytes)
      : begin_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
        bytes_(bytes) {
    if (begin_ == MAP_FAILED) throw std::bad_alloc();
    // Only advice: without huge pages the region is as good.
    madvise(begin_, bytes, MADV_HUGEPAGE);
    blocks_ = best_fit(ipc::create_only, begin_, bytes);
  }
  ~region() { munmap(begin_, bytes_); }
  region(const region&) = delete;
  region& operator=(const region&) = delete;

  void* take(std::size_t bytes) { return blocks_.allocate_aligned(bytes, line, std::nothrow); }
  void give(void* block) { blocks_.deallocate(block); }
  std::size_t size_of(const void* block) const {
    return blocks_.get_segment_manager()->size(block);
  }
  bool holds(const void* block) const { return address_of(block) - address_of(begin_) < bytes_; }

 private:
  /// The heap has a lock of its own, for what it counts.
  using best_fit =
      ipc::basic_managed_external_buffer<char, ipc::rbtree_best_fit<ipc::null_mutex_family>,
                                         ipc::null_index>;

  void* begin_;
  std::size_t bytes_;
  best_fit blocks_;
};

reusing_heap::reusing_heap(std::size_t kept_bytes_max) : kept_bytes_max_(kept_bytes_max) {
  try {
    region_ = std::make_unique<region>(machine_bytes());
  } catch (const std::bad_alloc&) {
    region_.reset();
  }
}

reusing_heap::~reusing_heap() = default;

bool reusing_heap::holds(const void* block) const {
  return region_ && region_->holds(block);
}

void* reusing_heap::allocate(std::size_t bytes) {
  if (region_ && bytes >= block_bytes_min) {
    const std::lock_guard lock(mutex_);
    if (void* const block = region_->take(bytes)) {
      kept_bytes_ -= std::min(kept_bytes_, region_->size_of(block));
      return block;
    }
  }
  void* block = nullptr;
  if (posix_memalign(&block, line, bytes) != 0) throw std::bad_alloc();
  return block;
}

void reusing_heap::free(void* block) {
  if (!holds(block)) {
    std::free(block);
    return;
  }
  const std::lock_guard lock(mutex_);
  const std::size_t bytes = region_->size_of(block);
  if (kept_bytes_ + bytes <= kept_bytes_max_) {
    kept_bytes_ += bytes;
  } else {
    give_pages_back(block, bytes);
  }
  region_->give(block);
}

}  // namespace troupe::gpu
