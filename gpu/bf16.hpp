#pragma once

// bfloat16 as its 16 bits: what samplers hold and checkpoints for them store.
//
// Threading: pure functions. Invariants: from_bf16(to_bf16(x)) is x rounded to nearest, ties to
// even; NaN stays NaN.

#include <bit>
#include <cstdint>

namespace troupe::gpu {

[[nodiscard]] constexpr float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16U);
}

[[nodiscard]] constexpr std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  constexpr std::uint32_t infinity = 0x7f800000U;
  constexpr std::uint32_t quiet = 0x00400000U;
  if ((bits & 0x7fffffffU) > infinity) return static_cast<std::uint16_t>((bits | quiet) >> 16U);
  const std::uint32_t odd = (bits >> 16U) & 1U;
  return static_cast<std::uint16_t>((bits + 0x7fffU + odd) >> 16U);
}

}  // namespace troupe::gpu
