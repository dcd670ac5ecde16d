#pragma once

// The inner loops of the engine on a CPU, compiled once per instruction set and chosen when the
// process starts: the maths library's own loops leave half of this hardware unused (its matrix
// product on some processors) or pass over memory many times (everything between two products).
//
// Every kernel works on a range of rows, on the calling thread, and computes each output element by
// an order of additions that depends on that element alone. So results are the same bits for any
// number of threads and for any rows that happen to be computed beside a row.
//
// Shapes: matrices are row-major with a stride; a packed panel is [k][panel_columns].
// Units: elements. Threading: pure functions on the caller's memory.

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/adamw_task.hpp"
#include "messages/digest_term.hpp"

namespace troupe::gpu::kernels {

/// Columns of a packed panel: two of the widest vectors.
inline constexpr std::size_t panel_columns = 32;

/// Inner extent of one panel multiplication: a panel of this height fills two thirds of a small L1.
inline constexpr std::size_t panel_rows_max = 256;

/// Packed rows lie in tiles, one after the other, the last with what rows are left. A tile's height
/// depends on the instruction set and divides this, so rows from a multiple of it on begin at
/// row * k, and one row alone is packed as it is.
inline constexpr std::size_t packed_row_step = 12;

/// Within a tile. What was side by side stays so: to turn it costs more than to copy it.
enum class packing : std::uint8_t {
  none = 0,
  by_row = 1,  ///< [k / packed_ks][rows][packed_ks], the last with what ks are left
  by_k = 2,    ///< [k][rows], in tiles that may be twice as high
};
inline constexpr std::size_t packed_ks = 16;

/// Where element (i, k) of a left operand lies: where pack_rows put it, or at
/// [i * row_stride + k * k_stride], one of the two being 1.
struct left_operand {
  const float* values = nullptr;
  std::size_t row_stride = 0;
  std::size_t k_stride = 1;
  packing packed = packing::none;
};

/// Values that packing changes.
enum class rounding : std::uint8_t {
  none = 0,
  bf16 = 1,  ///< to the nearest, even on a tie; they stay fp32
};

/// Rows to be packed; one of the two strides is 1.
struct row_source {
  const float* from = nullptr;
  std::size_t rows = 0;
  std::size_t k = 0;
  std::size_t row_stride = 0;
  std::size_t k_stride = 1;
  rounding to = rounding::none;
};

/// How pack_rows packs a source.
[[nodiscard]] constexpr packing packing_of(std::size_t k_stride) {
  return k_stride == 1 ? packing::by_row : packing::by_k;
}

/// c = addend + a * panel for m rows and at most panel_columns columns, or more where several
/// panels are taken, which lie one behind the other. `addend` is null for 0, may be `c`, and has
/// c's stride. Panel is float for [k][panel_columns] of fp32, std::uint16_t for the bits of bf16.
template <class Panel>
struct product_of_panel {
  std::size_t m = 0;
  std::size_t k = 0;
  std::size_t columns = 0;
  left_operand a;
  const Panel* panel = nullptr;
  const float* addend = nullptr;
  float* c = nullptr;
  std::size_t c_stride = 0;
  std::size_t column_k_stride = 0;  ///< of columns side by side that are in no panel; 0: in panels
};
using panel_product = product_of_panel<float>;
using bf16_panel_product = product_of_panel<std::uint16_t>;

/// k rows of `columns` values each become a panel; what is missing to panel_columns is zero.
struct panel_source {
  const float* from = nullptr;
  std::size_t k = 0;
  std::size_t columns = 0;
  std::size_t k_stride = 0;  ///< one of the two strides is 1
  std::size_t column_stride = 1;
  rounding to = rounding::none;
};

/// Rotary tables: cosine and sine of position p, pair i at [p * half + i].
struct rotary_tables {
  const float* cosine = nullptr;
  const float* sine = nullptr;
};

/// One sequence and one key head of packed causal attention, with the query heads that share it.
/// `q`, `k`, `v` point at row 0 of the sequence and their first head; heads of q are head_dim
/// apart.
struct attention_task {
  std::size_t length = 0;
  std::size_t head_dim = 0;
  std::size_t num_query_heads = 0;
  float scale = 1;
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  std::size_t q_stride = 0;
  std::size_t k_stride = 0;
  std::size_t v_stride = 0;
  float* out = nullptr;  ///< like q; read by the backward pass
  std::size_t out_stride = 0;
  float* lse = nullptr;  ///< [length, num_query_heads] with lse_stride
  std::size_t lse_stride = 0;
  float* scratch = nullptr;  ///< attention_scratch() elements

  const float* out_gradient = nullptr;  ///< like out
  float* q_gradient = nullptr;          ///< like q, overwritten; likewise the next two
  float* k_gradient = nullptr;
  float* v_gradient = nullptr;
  std::size_t gradient_stride = 0;
};

/// Positions of a cache page, and of a block of keys in it.
inline constexpr std::size_t cache_page = 64;
inline constexpr std::size_t cache_block = 16;

/// One head of one row; `out` is overwritten.
struct cached_query {
  const float* q = nullptr;
  float* out = nullptr;
  std::size_t num_positions = 0;
  const float* const* pages = nullptr;
};

/// Queries of one key head against caches of pages of cache_page positions. What a page holds of
/// the head lies at `offset` in it: keys in blocks, [block][head_dim][cache_block], then values as
/// [position][head_dim]. The first num_shared_pages pages are the same for all queries, and all
/// positions of them visible.
struct cached_attention_task {
  std::size_t head_dim = 0;
  float scale = 1;
  std::size_t offset = 0;
  const cached_query* queries = nullptr;
  std::size_t num_queries = 0;
  std::size_t num_shared_pages = 0;
  float* scratch = nullptr;        ///< scratch_stride elements for each query
  std::size_t scratch_stride = 0;  ///< whole pages of positions
};

using digest_sums = detail::digest_sums;

struct cpu_kernels {
  const char* name;

  void (*pack_panel)(const panel_source& source, float* panel);
  /// Rows are packed by row or not at all.
  void (*multiply_panel)(const panel_product& product);
  /// The same bits for any number of panels; those that fit in a part of the second cache are best.
  /// Rows are packed, or not and have k_stride 1. With rows packed by k, columns may be in place;
  /// they are then a multiple of panel_columns.
  void (*multiply_panels)(const panel_product& product);
  /// The bits that widening the panel first would give; faster while few rows share it. Rows are
  /// packed by row.
  void (*multiply_bf16_panel)(const bf16_panel_product& product);
  /// Copies rows, rows * k elements, to where the multiplication reads them in order.
  void (*pack_rows)(const row_source& source, float* to);

  /// y = x * rstd * weight with rstd = 1 / sqrt(mean(x^2) + eps), kept for the backward.
  void (*rms_norm)(std::size_t rows, std::size_t width, const float* x, const float* weight,
                   float eps, float* y, float* rstd);
  /// dx += gradient of x; weight_gradient += that of the weight, rows in order.
  void (*rms_norm_backward)(std::size_t rows, std::size_t width, const float* x,
                            const float* weight, const float* rstd, const float* dy, float* dx,
                            float* weight_gradient);

  /// RMS norm of one head, then rotation: [head_dim] to [head_dim]. Returns rstd.
  float (*norm_rotate)(std::size_t head_dim, const float* x, const float* weight, float eps,
                       const float* cosine, const float* sine, float* y);
  /// `dy` becomes dx; weight_gradient is added to.
  void (*norm_rotate_backward)(std::size_t head_dim, const float* x, const float* weight,
                               float rstd, const float* cosine, const float* sine, float* dy,
                               float* weight_gradient);

  /// Rotation alone: [head_dim] to [head_dim], which do not overlap.
  void (*rotate)(std::size_t head_dim, const float* x, const float* cosine, const float* sine,
                 float* y);
  /// `dy` becomes dx.
  void (*rotate_backward)(std::size_t head_dim, const float* cosine, const float* sine, float* dy);

  /// y = silu(gate) * up.
  void (*swiglu)(std::size_t count, const float* gate, const float* up, float* y);
  /// gate_up, whose rows hold gates, then values, becomes its gradient, and dy what swiglu made.
  void (*swiglu_backward)(std::size_t rows, std::size_t width, float* dy, float* gate_up);

  void (*attention)(const attention_task& task);
  void (*attention_backward)(const attention_task& task);
  void (*cached_attention)(const cached_attention_task& task);

  /// log(sum(exp(row))) of one row.
  float (*log_sum_exp)(std::size_t width, const float* row);
  /// row = exp(row - offset).
  void (*exponentials)(std::size_t width, float offset, float* row);
  /// dx = gradient * d logprob(target) / d row; dx may be row.
  void (*logprob_backward)(std::size_t width, float lse, std::size_t target, float gradient,
                           const float* row, float* dx);

  /// fp32 values of bf16 bits.
  void (*widen_bf16)(std::size_t count, const std::uint16_t* from, float* to);

  /// to += from.
  void (*add)(std::size_t count, const float* from, float* to);

  double (*sum_of_squares)(std::size_t count, const float* values);
  /// Returns the digest of the weights after the update.
  digest_sums (*adamw)(const adamw_task& task);
  /// Sum of element_digest over fp32 bits; see messages/state_digest.hpp.
  digest_sums (*digest)(std::uint32_t parameter, std::uint64_t first_element, std::size_t count,
                        const float* values);
};

/// Query rows whose scores exist at one time.
inline constexpr std::size_t attention_query_tile = 24;

/// Elements of scratch one attention task needs, forward or backward.
[[nodiscard]] std::size_t attention_scratch(std::size_t length, std::size_t head_dim);

/// The best table for this processor; TROUPE_ISA=base, avx2 or avx512 in the environment asks for
/// a lower one, to reproduce another machine's bits.
[[nodiscard]] const cpu_kernels& for_this_cpu();

/// Every table this processor can run, best first; for tests.
[[nodiscard]] std::size_t num_tables();
[[nodiscard]] const cpu_kernels& table(std::size_t index);

}  // namespace troupe::gpu::kernels
