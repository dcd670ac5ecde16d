#pragma once

// Reads parts of flat tensors on the host, one after the other. From a GPU each part is copied into
// pinned memory on a stream of its own, and the next one while the last is being used; so a
// snapshot costs the longer of copying and using, not both. What lies on the processor is read in
// place.
//
// Threading: one thread. A part must not change before it was taken.
// Errors: the library's exceptions.

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "gpu/torch/tensors.hpp"

namespace troupe::gpu::library {

class host_copies {
 public:
  host_copies();
  ~host_copies();
  host_copies(const host_copies&) = delete;
  host_copies& operator=(const host_copies&) = delete;

  /// Behind all that this thread's device was given so far. Requires: at most one is not taken yet.
  void start(const at::Tensor& part);

  /// The oldest part that was started; valid until the next start.
  [[nodiscard]] std::span<const float> take();

 private:
  struct slot;

  std::array<std::unique_ptr<slot>, 2> slots_;
  std::size_t num_started_ = 0;
  std::size_t num_taken_ = 0;
};

}  // namespace troupe::gpu::library
