#pragma once

// What the layers of a pass ask of its batch again and again, as tensors on the device: made for
// the first layer and kept with the batch.
//
// Threading: one thread.

#include "gpu/rotary.hpp"
#include "gpu/torch/packed_batch.hpp"
#include "gpu/torch/tensors.hpp"

namespace troupe::gpu::library {

struct batch_indices {
  at::Tensor starts;  ///< [sequences + 1] first row of each, and the number of rows; int32
  at::Tensor cosine;  ///< [T, 1, head_dim / 2] of each row's position
  at::Tensor sine;
  std::int64_t longest = 0;
};

/// Requires: `rotary` covers the longest sequence.
[[nodiscard]] const batch_indices& indices_of(const model_config& model, const packed_batch& batch,
                                              const rotary_cache& rotary);

}  // namespace troupe::gpu::library
