#include "gpu/rotary.hpp"

#include <cmath>

namespace troupe::gpu {

rotary_cache::rotary_cache(double theta, std::size_t head_dim) {
  for (std::size_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    frequencies_.push_back(static_cast<float>(1.0 / std::pow(theta, exponent)));
  }
}

void rotary_cache::grow_to(std::size_t positions) {
  for (std::size_t p = frequencies_.empty() ? positions : cosine_.size() / frequencies_.size();
       p < positions; ++p)
    for (const float frequency : frequencies_) {
      const float angle = static_cast<float>(p) * frequency;
      cosine_.push_back(static_cast<float>(std::cos(static_cast<double>(angle))));
      sine_.push_back(static_cast<float>(std::sin(static_cast<double>(angle))));
    }
}

}  // namespace troupe::gpu
