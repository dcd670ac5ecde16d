// Kernels over flat shards: gradient norm, AdamW, digest. Included by cpu_tables.hpp only.

constexpr std::size_t half_lanes = lanes / 2;
using vector_d = double __attribute__((vector_size(TROUPE_LANES * 4)));
using vector_l = std::uint64_t __attribute__((vector_size(TROUPE_LANES * 4)));

/// How many elements before their use they are fetched.
constexpr std::size_t state_ahead = 384;

/// Several sums at a time, for one would wait for itself.
inline double sum_of_squares(std::size_t count, const float* values) {
  constexpr std::size_t sums = 4;
  using half_f = float __attribute__((vector_size(TROUPE_LANES * 2)));
  vector_d sum[sums] = {};
  std::size_t i = 0;
  for (; i + sums * half_lanes <= count; i += sums * half_lanes)
    unrolled<sums>([&](auto s) {
      half_f part;
      __builtin_memcpy(&part, values + i + s * half_lanes, sizeof part);
      const auto wide = __builtin_convertvector(part, vector_d);
      sum[s] += wide * wide;
    });
  double total = 0;
  for (const vector_d& part : sum)
    for (std::size_t lane = 0; lane < half_lanes; ++lane)
      total += part[lane];
  for (; i < count; ++i)
    total += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return total;
}

/// The digest of elements one after the other, a vector of fp32 at a time.
class digest_lanes {
 public:
  digest_lanes(std::uint32_t parameter, std::uint64_t first_element) {
    const std::uint64_t key = (std::uint64_t{parameter} << 40U) + first_element;
    for (std::size_t i = 0; i < lanes; ++i)
      place_[i / half_lanes][i % half_lanes] = detail::digest_place(key + i);
  }

  [[gnu::always_inline]] void add(const vector_f& values) {
    using half_u = std::uint32_t __attribute__((vector_size(TROUPE_LANES * 2)));
    half_u bits[2];
    __builtin_memcpy(bits, &values, sizeof values);
    unrolled<2>([&](auto half) {
      const vector_l h = place_[half] + __builtin_convertvector(bits[half], vector_l);
      const vector_l middle = detail::digest_middle(h);
      low_ += detail::digest_low(middle);
      high_ += detail::digest_high(middle);
      place_[half] += lanes * detail::digest_stride;
    });
  }

  /// The last ones, fewer than lanes.
  void add_rest(const float* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t place = place_[i / half_lanes][i % half_lanes];
      const auto term = detail::digest_term(place + __builtin_bit_cast(std::uint32_t, values[i]));
      low_[0] += term.low;
      high_[0] += term.high;
    }
  }

  [[nodiscard]] digest_sums sum() const {
    digest_sums total;
    for (std::size_t lane = 0; lane < half_lanes; ++lane) {
      total.low += low_[lane];
      total.high += high_[lane];
    }
    return total;
  }

 private:
  vector_l place_[2] = {};  ///< of the next elements
  vector_l low_ = {};
  vector_l high_ = {};
};

[[gnu::always_inline]] inline void adamw_part(const adamw_task& t, std::size_t first,
                                              std::size_t count) {
  const float decay = 1.0F - t.learning_rate * t.weight_decay;
  const float take1 = 1.0F - t.beta1;
  const float take2 = 1.0F - t.beta2;
#pragma omp simd
  for (std::size_t i = first; i < first + count; ++i) {
    const float gradient = t.gradients[i] * t.gradient_scale;
    const float average = t.beta1 * t.exp_avg[i] + take1 * gradient;
    const float square = t.beta2 * t.exp_avg_sq[i] + take2 * gradient * gradient;
    t.exp_avg[i] = average;
    t.exp_avg_sq[i] = square;
    const float scale = __builtin_sqrtf(square) * t.inverse_sqrt_correction2 + t.eps;
    t.weights[i] = t.weights[i] * decay - t.step_size * average / scale;
  }
}

/// The digest waits for arithmetic while the update waits for memory, so they go together.
inline digest_sums adamw(const adamw_task& task) {
  const adamw_task t = task;
  digest_lanes digest(t.parameter, t.first_element);
  std::size_t i = 0;
  for (; i + lanes <= t.count; i += lanes) {
    __builtin_prefetch(t.gradients + i + state_ahead);
    for (const float* const written : {t.weights, t.exp_avg, t.exp_avg_sq})
      __builtin_prefetch(written + i + state_ahead, 1);
    adamw_part(t, i, lanes);
    digest.add(load(t.weights + i));
  }
  adamw_part(t, i, t.count - i);
  digest.add_rest(t.weights + i, t.count - i);
  return digest.sum();
}

inline digest_sums digest(std::uint32_t parameter, std::uint64_t first_element, std::size_t count,
                          const float* values) {
  digest_lanes digest(parameter, first_element);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    digest.add(load(values + i));
  digest.add_rest(values + i, count - i);
  return digest.sum();
}
