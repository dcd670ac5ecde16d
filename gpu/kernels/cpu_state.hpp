// Kernels over flat shards: gradient norm, AdamW, digest. Included by cpu_tables.hpp only.

inline double sum_of_squares(std::size_t count, const float* values) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    sum += value * value;
  }
  return sum;
}

inline void adamw(const adamw_task& t) {
  const float decay = 1.0F - t.learning_rate * t.weight_decay;
  const float keep1 = t.beta1;
  const float take1 = 1.0F - t.beta1;
  const float keep2 = t.beta2;
  const float take2 = 1.0F - t.beta2;
#pragma omp simd
  for (std::size_t i = 0; i < t.count; ++i) {
    const float gradient = t.gradients[i] * t.gradient_scale;
    const float first = keep1 * t.exp_avg[i] + take1 * gradient;
    const float second = keep2 * t.exp_avg_sq[i] + take2 * gradient * gradient;
    t.exp_avg[i] = first;
    t.exp_avg_sq[i] = second;
    const float scale = __builtin_sqrtf(second) * t.inverse_sqrt_correction2 + t.eps;
    t.weights[i] = t.weights[i] * decay - t.step_size * first / scale;
  }
}

inline digest_sum digest(std::uint32_t parameter, std::uint64_t first_element, std::size_t count,
                         const float* values) {
  std::uint64_t place = detail::digest_place((std::uint64_t{parameter} << 40U) + first_element);
  std::uint64_t low = 0;
  std::uint64_t high = 0;
#pragma omp simd reduction(+ : low, high) linear(place : detail::digest_stride)
  for (std::size_t i = 0; i < count; ++i) {
    const auto term = detail::digest_term(place + __builtin_bit_cast(std::uint32_t, values[i]));
    low += term.low;
    high += term.high;
    place += detail::digest_stride;
  }
  return {low, high};
}
