#include "gpu/torch/maths_library.hpp"

#include <ATen/Parallel.h>

#include "gpu/torch/reused_memory.hpp"

namespace troupe::gpu {

void prepare_maths_library() {
  at::set_num_threads(1);
  reuse_tensor_memory();
}

}  // namespace troupe::gpu
