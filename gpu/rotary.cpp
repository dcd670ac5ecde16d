#include "gpu/rotary.hpp"

#include <cmath>
#include <numbers>

namespace troupe::gpu {

namespace {

/// In fp32, because the reference scales frequencies in fp32.
float scaled(const rope_scaling& rope, float frequency) {
  const auto wavelength = static_cast<float>(2 * std::numbers::pi / static_cast<double>(frequency));
  const auto positions = static_cast<float>(rope.original_positions);
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto high = static_cast<float>(rope.high_freq_factor);
  if (wavelength > positions / low) return frequency / factor;
  if (wavelength < positions / high) return frequency;
  const float smooth = (positions / wavelength - low) / (high - low);
  return (1.0F - smooth) * (frequency / factor) + smooth * frequency;
}

}  // namespace

rotary_cache::rotary_cache(const model_config& model) {
  const std::size_t head_dim = model.head_dim;
  for (std::size_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    const auto frequency = static_cast<float>(1.0 / std::pow(model.rope_theta, exponent));
    const bool is_scaled = model.rope.kind == rope_kind::llama3;
    frequencies_.push_back(is_scaled ? scaled(model.rope, frequency) : frequency);
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
