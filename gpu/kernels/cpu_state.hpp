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

inline std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30U;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27U;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

inline digest_sum digest(std::uint32_t parameter, std::uint64_t first_element, std::size_t count,
                         const float* values) {
  const std::uint64_t first_key = (std::uint64_t{parameter} << 40U) + first_element;
  std::uint64_t low = 0;
  std::uint64_t high = 0;
#pragma omp simd reduction(+ : low, high)
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t key = (first_key + i) * 0x9e3779b97f4a7c15ULL + 0x632be59bd9b4e019ULL;
    const std::uint64_t h = mix(key) + __builtin_bit_cast(std::uint32_t, values[i]);
    low += mix(h);
    high += mix(h ^ 0xd6e8feb86659fd93ULL);
  }
  return {low, high};
}
