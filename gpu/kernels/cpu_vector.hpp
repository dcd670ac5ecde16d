// Vectors of the instruction set a unit is compiled for. Included by cpu_tables.hpp only, inside
// namespace TROUPE_ISA, so that code of two instruction sets never shares a symbol.
//
// The vector extensions of GCC and Clang are used instead of intrinsics: one text serves every
// width, and an operation means the same on all of them.

using vector_f = float __attribute__((vector_size(TROUPE_LANES * 4)));
using unaligned_f = float __attribute__((vector_size(TROUPE_LANES * 4), aligned(4), may_alias));

constexpr std::size_t lanes = TROUPE_LANES;

[[gnu::always_inline]] inline const unaligned_f& load(const float* p) {
  return *static_cast<const unaligned_f*>(static_cast<const void*>(p));
}
[[gnu::always_inline]] inline unaligned_f& store(float* p) {
  return *static_cast<unaligned_f*>(static_cast<void*>(p));
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
