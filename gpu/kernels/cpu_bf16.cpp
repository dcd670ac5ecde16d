// Compiled with the flags of AVX-512 BF16; nothing here may call an inline function of a library
// header that could be emitted as a symbol shared with other units.

#include "gpu/kernels/cpu_bf16.hpp"

#include <immintrin.h>

#include "gpu/kernels/cpu_masks.hpp"

namespace troupe::gpu::kernels {
namespace {

constexpr std::size_t lanes = wide_lanes;
constexpr std::size_t tile_rows = packed_row_step;

__m512i rounded(const float* from, std::size_t count) {
  const __m512 values = _mm512_maskz_loadu_ps(first_lanes(count), from);
  return _mm512_maskz_cvtepu16_epi32(all_lanes,
                                     __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(values)));
}

/// Pairs of two rows of 16 elements each.
__m512i interleaved(const float* low, const float* high, std::size_t count) {
  const __m512i second = high == nullptr ? _mm512_setzero_si512() : rounded(high, count);
  return _mm512_or_si512(rounded(low, count), _mm512_maskz_slli_epi32(all_lanes, second, 16));
}

/// Pairs along a row: up to 32 elements.
__m512i paired(const float* from, std::size_t count) {
  const __m512 low = _mm512_maskz_loadu_ps(first_lanes(count), from);
  const std::size_t rest = count > lanes ? count - lanes : 0;
  const __m512 high = _mm512_maskz_loadu_ps(first_lanes(rest), from + (rest == 0 ? 0 : lanes));
  return __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(high, low));
}

/// Exchanges quadrants of growing squares (Eklundh 1972).
template <unsigned Step = 1>
void transpose(__m512i* rows) {
  if constexpr (Step < lanes) {
    constexpr auto upper = static_cast<__mmask16>(Step == 1   ? 0xaaaa
                                                  : Step == 2 ? 0xcccc
                                                  : Step == 4 ? 0xf0f0
                                                              : 0xff00);
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i distance = _mm512_set1_epi32(static_cast<int>(Step));
    const __m512i down = _mm512_maskz_sub_epi32(all_lanes, lane, distance);
    const __m512i up = _mm512_maskz_add_epi32(all_lanes, lane, distance);
    for (unsigned i = 0; i < lanes; ++i) {
      if ((i & Step) != 0) continue;
      const __m512i low = rows[i];
      rows[i] = _mm512_mask_permutexvar_epi32(low, upper, down, rows[i + Step]);
      rows[i + Step] =
          _mm512_mask_permutexvar_epi32(rows[i + Step], static_cast<__mmask16>(~upper), up, low);
    }
    transpose<2 * Step>(rows);
  }
}

void pack_panel(const panel_source& s, std::uint32_t* panel) {
  const std::size_t pairs = (s.k + 1) / 2;
  if (s.column_stride == 1) {
    for (std::size_t p = 0; p < pairs; ++p)
      for (std::size_t column = 0; column < panel_columns; column += lanes) {
        const std::size_t left = s.columns > column ? s.columns - column : 0;
        const float* const low = s.from + 2 * p * s.k_stride + (left == 0 ? 0 : column);
        const float* const high = 2 * p + 1 < s.k ? low + s.k_stride : nullptr;
        _mm512_storeu_si512(panel + p * panel_columns + column, interleaved(low, high, left));
      }
    return;
  }
  for (std::size_t column = 0; column < panel_columns; column += lanes)
    for (std::size_t p = 0; p < pairs; p += lanes) {
      __m512i square[lanes];
      for (std::size_t i = 0; i < lanes; ++i)
        square[i] = column + i < s.columns
                        ? paired(s.from + (column + i) * s.column_stride + 2 * p, s.k - 2 * p)
                        : _mm512_setzero_si512();
      transpose(square);
      for (std::size_t i = 0; i < lanes && p + i < pairs; ++i)
        _mm512_storeu_si512(panel + (p + i) * panel_columns + column, square[i]);
    }
}

/// Rows whose elements are side by side.
void pack_tile(const row_source& s, std::size_t first, std::size_t rows, std::uint32_t* pairs) {
  const std::size_t num_pairs = (s.k + 1) / 2;
  const __mmask16 mask = first_lanes(rows);
  for (std::size_t p = 0; p < num_pairs; p += lanes) {
    __m512i square[lanes];
    for (std::size_t i = 0; i < lanes; ++i)
      square[i] = i < rows ? paired(s.from + (first + i) * s.row_stride + 2 * p, s.k - 2 * p)
                           : _mm512_setzero_si512();
    transpose(square);
    for (std::size_t i = 0; i < lanes && p + i < num_pairs; ++i)
      _mm512_mask_storeu_epi32(pairs + (p + i) * rows, mask, square[i]);
  }
}

void pack_rows(const row_source& s, std::uint32_t* pairs) {
  const std::size_t num_pairs = (s.k + 1) / 2;
  for (std::size_t row = 0; row < s.rows; row += tile_rows) {
    const std::size_t rows = s.rows - row < tile_rows ? s.rows - row : tile_rows;
    std::uint32_t* const tile = pairs + row * num_pairs;
    if (s.k_stride == 1) {
      pack_tile(s, row, rows, tile);
      continue;
    }
    for (std::size_t p = 0; p < num_pairs; ++p) {
      const float* const low = s.from + 2 * p * s.k_stride + row * s.row_stride;
      const float* const high = 2 * p + 1 < s.k ? low + s.k_stride : nullptr;
      _mm512_mask_storeu_epi32(tile + p * rows, first_lanes(rows), interleaved(low, high, rows));
    }
  }
}

template <std::size_t Rows>
void multiply_tile(const bf16_product& p, std::size_t row) {
  __m512 sum[Rows][2];
  for (std::size_t r = 0; r < Rows; ++r)
    sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  const std::uint32_t* a = p.rows + row * p.num_pairs;
  const std::uint32_t* b = p.panel;
  for (std::size_t k = 0; k < p.num_pairs; ++k) {
    const auto b0 = __builtin_bit_cast(__m512bh, _mm512_loadu_si512(b));
    const auto b1 = __builtin_bit_cast(__m512bh, _mm512_loadu_si512(b + lanes));
    for (std::size_t r = 0; r < Rows; ++r) {
      const auto pair = static_cast<int>(a[r]);
      const auto factor = __builtin_bit_cast(__m512bh, _mm512_set1_epi32(pair));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], factor, b0);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], factor, b1);
    }
    a += Rows;
    b += panel_columns;
  }
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t half = 0; half < 2 && half * lanes < p.columns; ++half) {
      const __mmask16 mask = first_lanes(p.columns - half * lanes);
      const std::size_t at = (row + r) * p.c_stride + half * lanes;
      __m512 total = sum[r][half];
      if (p.addend != nullptr)
        total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(mask, p.addend + at));
      _mm512_mask_storeu_ps(p.c + at, mask, total);
    }
}

template <std::size_t Rows>
void multiply_last_tile(const bf16_product& p, std::size_t row) {
  if constexpr (Rows > 0) {
    if (p.m - row == Rows) {
      multiply_tile<Rows>(p, row);
    } else {
      multiply_last_tile<Rows - 1>(p, row);
    }
  }
}

void multiply(const bf16_product& p) {
  std::size_t row = 0;
  for (; row + tile_rows <= p.m; row += tile_rows)
    multiply_tile<tile_rows>(p, row);
  multiply_last_tile<tile_rows - 1>(p, row);
}

constexpr bf16_kernels products{&pack_panel, &pack_rows, &multiply};

}  // namespace

extern const bf16_kernels* const avx512_bf16;
const bf16_kernels* const avx512_bf16 = &products;

}  // namespace troupe::gpu::kernels
