#pragma once

// Cosines and sines of rotary positions, in the half-split layout of Hugging Face: element i of a
// head turns with element i + head_dim / 2. Grows to the longest sequence seen.
//
// Shapes: [positions, head_dim / 2]. Threading: one thread grows; readers after that.
// Source: Su et al. 2021; Llama 3.1 for its scaling, as transformers computes it; angles are
// rounded to fp32 before the cosine, as transformers does.

#include <cstddef>
#include <vector>

#include "messages/model.hpp"

namespace troupe::gpu {

class rotary_cache {
 public:
  explicit rotary_cache(const model_config& model);

  void grow_to(std::size_t positions);
  [[nodiscard]] const float* cosine(std::size_t position) const {
    return cosine_.data() + position * frequencies_.size();
  }
  [[nodiscard]] const float* sine(std::size_t position) const {
    return sine_.data() + position * frequencies_.size();
  }

 private:
  std::vector<float> frequencies_;
  std::vector<float> cosine_;
  std::vector<float> sine_;
};

}  // namespace troupe::gpu
