#pragma once

// Matrix products with operands rounded to bf16 and sums in fp32, for processors that multiply
// pairs of bf16 in one instruction: twice the fp32 rate and half the cache traffic. Operands stay
// fp32 in memory and are rounded while they are packed, so master weights, gradients and everything
// between two products are what they are without it.
//
// Each output element is a sum over k in order, two products at a time, whatever is computed
// beside it: results depend neither on threads nor on other rows.
//
// Shapes: pairs hold elements k and k + 1, the first in the low half; an odd k is filled with zero.
// Units: elements. Threading: pure functions on the caller's memory.

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu::kernels {

/// Inner extent of one panel: its pairs fill the same part of L1 as panel_rows_max floats.
inline constexpr std::size_t bf16_panel_rows_max = 512;

/// c = addend + rows * panel; `addend` is null for 0, may be `c`, and has c's stride.
struct bf16_product {
  std::size_t m = 0;
  std::size_t num_pairs = 0;
  std::size_t columns = 0;
  const std::uint32_t* rows = nullptr;   ///< packed
  const std::uint32_t* panel = nullptr;  ///< [num_pairs][panel_columns]
  const float* addend = nullptr;
  float* c = nullptr;
  std::size_t c_stride = 0;
};

struct bf16_kernels {
  void (*pack_panel)(const panel_source& source, std::uint32_t* panel);
  /// Tiles as of cpu_kernels::pack_rows, with a pair for each two ks.
  void (*pack_rows)(const row_source& source, std::uint32_t* pairs);
  void (*multiply)(const bf16_product& product);
};

/// Null where the processor has no such instructions.
[[nodiscard]] const bf16_kernels* bf16_of_this_cpu();

/// Null as well where they are slower than fp32 ones: Intel's have half the rate.
[[nodiscard]] const bf16_kernels* bf16_for_this_cpu();

}  // namespace troupe::gpu::kernels
