#pragma once

// Number formats of model files, to and from fp32. Widening is exact for every pattern, NaN
// payloads included; narrowing rounds to nearest even as the maths libraries do.
//
// Threading: pure functions.

#include <bit>
#include <cstdint>

namespace troupe::storage {

[[nodiscard]] constexpr float float_from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

[[nodiscard]] constexpr std::uint16_t bf16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t upper = bits >> 16;
  // Rounding could carry a NaN into infinity, so NaNs are cut, with their quiet bit set.
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(upper | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (upper & 1U)) >> 16);
}

[[nodiscard]] constexpr float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU;
  const std::uint32_t fraction = bits & 0x3ffU;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | (fraction << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

}  // namespace troupe::storage
