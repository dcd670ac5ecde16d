#include "gpu/kernels/device_table.hpp"

namespace troupe::gpu::kernels {

const device_table* device_kernels() {
  static constexpr device_table table{rms_norm,       add_rms_norm_backward<float>,
                                      token_logprobs, token_logprobs_backward,
                                      weights_digest, adamw};
  return &table;
}

}  // namespace troupe::gpu::kernels
