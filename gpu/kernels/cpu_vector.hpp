// Vectors of the instruction set a unit is compiled for. Included by cpu_tables.hpp and
// cpu_fp16.cpp only, inside namespaces of their own, so that code of two instruction sets never
// shares a symbol.
//
// The vector extensions of GCC and Clang are used instead of intrinsics: one text serves every
// width, and an operation means the same on all of them.

using vector_f = float __attribute__((vector_size(TROUPE_LANES * 4)));
using vector_u = std::uint32_t __attribute__((vector_size(TROUPE_LANES * 4)));
using vector_i = std::int32_t __attribute__((vector_size(TROUPE_LANES * 4)));

constexpr std::size_t lanes = TROUPE_LANES;

constexpr std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

// Through memcpy: a reference to a vector type with less alignment loses that on its way through
// some compilers' inlining.
[[gnu::always_inline]] inline vector_f load(const float* p) {
  vector_f out;
  __builtin_memcpy(&out, p, sizeof out);
  return out;
}

/// Memory that a vector is assigned to.
struct vector_place {
  float* at;

  [[gnu::always_inline]] inline void operator=(const vector_f& value) const {
    __builtin_memcpy(at, &value, sizeof value);
  }
};

[[gnu::always_inline]] inline vector_place store(float* p) {
  return {p};
}

/// Pairs of 16-bit values, the first in the low halves.
[[gnu::always_inline]] inline vector_u load_words(const std::uint16_t* p) {
  vector_u out;
  __builtin_memcpy(&out, p, sizeof out);
  return out;
}

/// Element i is a's i-th, or b's when i is at least `lanes`.
template <class Index, std::size_t... I>
[[gnu::always_inline]] inline vector_f chosen(const vector_f& a, const vector_f& b, Index index,
                                              std::index_sequence<I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, index(I)...);
#else
  return __builtin_shuffle(a, b, vector_i{index(I)...});
#endif
}

/// a0 b0 a1 b1 ...
[[gnu::always_inline]] inline vector_f low_of_pairs(const vector_f& a, const vector_f& b) {
  return chosen(
      a, b, [](std::size_t i) { return static_cast<std::int32_t>(i / 2 + (i % 2) * lanes); },
      std::make_index_sequence<lanes>());
}

/// The same from the middle on.
[[gnu::always_inline]] inline vector_f high_of_pairs(const vector_f& a, const vector_f& b) {
  return chosen(
      a, b,
      [](std::size_t i) { return static_cast<std::int32_t>(lanes / 2 + i / 2 + (i % 2) * lanes); },
      std::make_index_sequence<lanes>());
}

/// Exchanges quadrants of growing squares (Eklundh 1972).
template <std::size_t Step = 1>
[[gnu::always_inline]] inline void transpose_vectors(vector_f* rows) {
  if constexpr (Step < lanes) {
    for (std::size_t i = 0; i < lanes; ++i) {
      if ((i & Step) != 0) continue;
      const vector_f low = rows[i];
      const vector_f high = rows[i + Step];
      rows[i] = chosen(
          low, high,
          [](std::size_t j) {
            return static_cast<std::int32_t>((j & Step) == 0 ? j : lanes + j - Step);
          },
          std::make_index_sequence<lanes>());
      rows[i + Step] = chosen(
          low, high,
          [](std::size_t j) {
            return static_cast<std::int32_t>((j & Step) == 0 ? j + Step : lanes + j);
          },
          std::make_index_sequence<lanes>());
    }
    transpose_vectors<2 * Step>(rows);
  }
}

/// exp(x) within 2 units in the last place on [-87, 88]; arguments outside are clamped, NaN stays.
/// Cody-Waite reduction and the polynomial of Cephes expf.
[[gnu::always_inline]] inline float exp_fast(float x) {
  const float clamped = x < -87.0F ? -87.0F : (x > 88.0F ? 88.0F : x);
  const float magic = 12582912.0F;
  const float shifted = clamped * 1.44269504088896341F + magic;
  const float n = shifted - magic;
  const float r = (clamped - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = (p * r * r + r) + 1.0F;
  // The low bits of `shifted` are n as an integer.
  const auto exponent = __builtin_bit_cast(std::uint32_t, shifted) << 23U;
  return e * __builtin_bit_cast(float, exponent + 0x3f800000U);
}
