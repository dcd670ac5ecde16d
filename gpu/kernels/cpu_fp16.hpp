#pragma once

// Matrix products in half precision for processors that compute with fp16 at twice the rate of
// fp32, where bf16 products are slower than fp32 ones. Operands stay fp32 in memory and become fp16
// while they are packed. Each row and column of a piece of k has a power of two of its own that
// brings its largest element to [8, 16), so nothing overflows, and what is lost to fp16's range is
// below 2^-28 of that element. Sums of 128 products are fp16, sums of those fp32.
//
// Operands have eleven bits instead of bf16's eight; the rounded sums included, a product of
// unrelated numbers is 0.7 times as far off as with operands rounded to bf16. Shorter sums would be
// nearer (64: 0.5 times) and take longer (1.05 times).
//
// Attention is made of such products as well: softmax is fp32, probabilities are halves, and the
// gradients of a query's scores have a factor of their own.
//
// An element of the result depends on its row and column alone, whatever is computed beside them.
// NaN and infinities of an operand come out as such.
//
// Shapes: rows lie in tiles of packed_row_step, of which the last may have fewer, panels are
// panel_columns wide. A packed row or column takes fp16_depth(k) words: its elements, then, behind
// those of the whole tile or panel, its factor.
// Units: elements; words of 32 bits. Threading: pure functions on the caller's memory.

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu::kernels {

/// Elements of k that are packed together; what is missing to the last of them is zero.
inline constexpr std::size_t fp16_block_ks = 32;

/// Most that are packed in one call.
inline constexpr std::size_t fp16_pack_rows_max = 16 * packed_row_step;

[[nodiscard]] constexpr std::size_t fp16_depth(std::size_t k) {
  return (k + fp16_block_ks - 1) / fp16_block_ks * fp16_block_ks / 2 + 1;
}

/// c = addend + rows * panels, one behind the other; `addend` is null for 0, may be `c`, and has
/// c's stride.
struct fp16_product {
  std::size_t m = 0;
  std::size_t k = 0;
  std::size_t columns = 0;
  packing order = packing::by_row;
  const std::uint32_t* rows = nullptr;
  const std::uint32_t* panels = nullptr;
  const float* addend = nullptr;
  float* c = nullptr;
  std::size_t c_stride = 0;
};

struct fp16_kernels {
  void (*pack_panel)(const panel_source& source, std::uint32_t* panel);
  /// At most fp16_pack_rows_max, in the order of packing_of(k_stride). Writes whole tiles.
  void (*pack_rows)(const row_source& source, std::uint32_t* rows);
  void (*multiply)(const fp16_product& product);

  /// Causal attention as of cpu_kernels, with these products.
  void (*attention)(const attention_task& task);
  void (*attention_backward)(const attention_task& task);
  /// Elements of scratch, which begins with a line of the caches, for either pass.
  std::size_t (*attention_scratch)(std::size_t length, std::size_t head_dim);
};

/// Null where the processor has no such instructions.
[[nodiscard]] const fp16_kernels* fp16_for_this_cpu();

}  // namespace troupe::gpu::kernels
