#include "gpu/torch/maths_threads.hpp"

#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {

void set_maths_threads(std::uint32_t num_threads) {
  at::set_num_threads(static_cast<int>(num_threads));
}

}  // namespace troupe::gpu
