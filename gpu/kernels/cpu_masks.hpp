#pragma once

// Masks of AVX-512's vectors of fp32, for units compiled for such processors. What is here is of
// one unit each, so that nothing is shared by the linker.
//
// Units: lanes. Threading: pure functions.

#include <cstddef>

#include <immintrin.h>

namespace troupe::gpu::kernels {

static constexpr std::size_t wide_lanes = 16;

/// For masked forms where no lane is left out: GCC takes the others' undefined source for a bug.
static constexpr __mmask16 all_lanes{0xffff};

[[gnu::always_inline]] static inline __mmask16 first_lanes(std::size_t count) {
  return count >= wide_lanes ? all_lanes : static_cast<__mmask16>((1U << count) - 1U);
}

}  // namespace troupe::gpu::kernels
