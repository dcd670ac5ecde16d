// Compiled with the flags of AVX-512 FP16; nothing here may call an inline function of a library
// header that could be emitted as a symbol shared with other units.

#include "gpu/kernels/cpu_fp16.hpp"

#include <immintrin.h>

#include "gpu/kernels/cpu_masks.hpp"
#include "gpu/kernels/cpu_unrolled.hpp"

namespace troupe::gpu::kernels {
namespace {

constexpr std::size_t lanes = wide_lanes;
constexpr std::size_t tile_rows = packed_row_step;
constexpr std::size_t block_ks = fp16_block_ks;

/// Blocks whose sums are fp16.
constexpr std::size_t run_blocks = 4;

/// How many ks before their use panels are fetched.
constexpr std::size_t ahead = 16;

constexpr std::size_t padded(std::size_t k) {
  return (k + block_ks - 1) / block_ks * block_ks;
}

__m512 load(const float* from, std::size_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), from);
}

__m512 larger(__m512 most, __m512 values) {
  return _mm512_maskz_max_ps(all_lanes, most, _mm512_abs_ps(values));
}

/// Powers of two that bring values to [8, 16), and what takes that back.
struct factors {
  __m512 scale;
  __m512 inverse;
};

factors factors_of(__m512 most) {
  const __m512 exponent = _mm512_maskz_getexp_ps(all_lanes, most);
  const __mmask16 is_finite = _mm512_cmp_ps_mask(exponent, _mm512_set1_ps(128), _CMP_LT_OQ);
  // The factor of what is nearly 0 has an inverse; that of infinity is 1.
  const __m512 place = _mm512_maskz_max_ps(all_lanes, exponent, _mm512_set1_ps(-100));
  const __m512 wanted = _mm512_set1_ps(3);
  const __m512 one = _mm512_set1_ps(1);
  return {_mm512_maskz_scalef_ps(all_lanes, one, _mm512_maskz_sub_ps(is_finite, wanted, place)),
          _mm512_maskz_scalef_ps(all_lanes, one, _mm512_maskz_sub_ps(is_finite, place, wanted))};
}

/// The largest of all lanes, in each of them.
__m512 largest(__m512 most) {
  most = larger(most, _mm512_maskz_shuffle_f32x4(all_lanes, most, most, 0x4e));
  most = larger(most, _mm512_maskz_shuffle_f32x4(all_lanes, most, most, 0xb1));
  most = larger(most, _mm512_maskz_permute_ps(all_lanes, most, 0x4e));
  return larger(most, _mm512_maskz_permute_ps(all_lanes, most, 0xb1));
}

__m256i halves(__m512 values, __m512 scale) {
  return _mm512_maskz_cvtps_ph(all_lanes, _mm512_maskz_mul_ps(all_lanes, values, scale),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

__m256i* halves_at(std::uint32_t* words, std::size_t element) {
  return reinterpret_cast<__m256i*>(reinterpret_cast<char*>(words) + 2 * element);
}

void pack_panel(const panel_source& s, std::uint32_t* panel) {
  constexpr std::size_t parts = panel_columns / lanes;
  __m512 most[parts] = {};
  const auto values_at = [&](std::size_t k, std::size_t part) {
    const std::size_t left = s.columns > part * lanes ? s.columns - part * lanes : 0;
    return load(s.from + k * s.k_stride + (left == 0 ? 0 : part * lanes), left);
  };
  for (std::size_t k = 0; k < s.k; ++k)
    for (std::size_t part = 0; part < parts; ++part) {
      _mm_prefetch(s.from + (k + ahead) * s.k_stride + part * lanes, _MM_HINT_T0);
      most[part] = larger(most[part], values_at(k, part));
    }
  factors by[parts];
  for (std::size_t part = 0; part < parts; ++part) {
    by[part] = factors_of(most[part]);
    _mm512_storeu_ps(panel + panel_columns * padded(s.k) / 2 + part * lanes, by[part].inverse);
  }
  for (std::size_t k = 0; k < padded(s.k); ++k)
    for (std::size_t part = 0; part < parts; ++part)
      _mm256_storeu_si256(
          halves_at(panel, k * panel_columns + part * lanes),
          k < s.k ? halves(values_at(k, part), by[part].scale) : _mm256_setzero_si256());
}

void put_halves(__m256i* to, __m512 values, __m512 scale) {
  _mm256_storeu_si256(to, halves(values, scale));
}

/// body(first, load) for each vector of `count` values.
template <class Body>
[[gnu::always_inline]] inline void for_vectors(const float* from, std::size_t count,
                                               const Body& body) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    body(i, _mm512_loadu_ps(from + i));
  if (i < count) body(i, load(from + i, count - i));
}

/// Rows whose elements are side by side: [block][row][k].
void pack_by_row(const row_source& s, std::size_t first, std::size_t rows, std::uint32_t* tile) {
  float inverse[lanes] = {};
  for (std::size_t r = 0; r < rows; ++r) {
    const float* const from = s.from + (first + r) * s.row_stride;
    __m512 most = _mm512_setzero_ps();
    for_vectors(from, s.k, [&](std::size_t k, __m512 values) {
      _mm_prefetch(from + s.row_stride + k, _MM_HINT_T0);
      most = larger(most, values);
    });
    const factors by = factors_of(largest(most));
    inverse[r] = _mm512_cvtss_f32(by.inverse);
    const auto place = [&](std::size_t k) {
      return halves_at(tile, k / block_ks * block_ks * tile_rows + r * block_ks + k % block_ks);
    };
    for_vectors(from, s.k,
                [&](std::size_t k, __m512 values) { put_halves(place(k), values, by.scale); });
    for (std::size_t k = (s.k + lanes - 1) / lanes * lanes; k < padded(s.k); k += lanes)
      _mm256_storeu_si256(place(k), _mm256_setzero_si256());
  }
  _mm512_mask_storeu_ps(tile + tile_rows * padded(s.k) / 2, first_lanes(tile_rows),
                        _mm512_loadu_ps(inverse));
}

/// What brings each row to its place, and back.
struct row_factors {
  float scale[fp16_pack_rows_max + lanes];
  float inverse[fp16_pack_rows_max + lanes];
};

void find_factors(const row_source& s, row_factors& by) {
  __m512 most[fp16_pack_rows_max / lanes] = {};
  for (std::size_t k = 0; k < s.k; ++k)
    for_vectors(s.from + k * s.k_stride, s.rows, [&](std::size_t row, __m512 values) {
      _mm_prefetch(s.from + (k + ahead) * s.k_stride + row, _MM_HINT_T0);
      most[row / lanes] = larger(most[row / lanes], values);
    });
  for (std::size_t row = 0; row < s.rows; row += lanes) {
    const factors found = factors_of(most[row / lanes]);
    _mm512_storeu_ps(by.scale + row, found.scale);
    _mm512_storeu_ps(by.inverse + row, found.inverse);
  }
}

/// ks whose elements are side by side: [k][row], all tiles at once.
void pack_by_k(const row_source& s, std::uint32_t* rows) {
  row_factors by{};
  find_factors(s, by);
  const std::size_t tile_words = tile_rows * fp16_depth(s.k);
  for (std::size_t k = 0; k < padded(s.k); ++k) {
    const float* const from = s.from + k * s.k_stride;
    std::uint32_t* tile = rows;
    // Whole vectors: what is too much is written again with the next ks, or is the factors' place.
    for (std::size_t row = 0; row < s.rows; row += tile_rows, tile += tile_words) {
      __m256i* const to = halves_at(tile, k * tile_rows);
      const __m512 scale = _mm512_loadu_ps(by.scale + row);
      if (k >= s.k) {
        _mm256_storeu_si256(to, _mm256_setzero_si256());
      } else if (row + lanes <= s.rows) {
        put_halves(to, _mm512_loadu_ps(from + row), scale);
      } else {
        put_halves(to, load(from + row, s.rows - row), scale);
      }
    }
  }
  for (std::size_t row = 0; row < s.rows; row += tile_rows, rows += tile_words)
    _mm512_mask_storeu_ps(rows + tile_rows * padded(s.k) / 2, first_lanes(tile_rows),
                          _mm512_loadu_ps(by.inverse + row));
}

void pack_rows(const row_source& s, std::uint32_t* rows) {
  if (packing_of(s.k_stride) == packing::by_k) return pack_by_k(s, rows);
  for (std::size_t row = 0; row < s.rows; row += tile_rows)
    pack_by_row(s, row, s.rows - row < tile_rows ? s.rows - row : tile_rows,
                rows + row * fp16_depth(s.k));
}

/// sum + factor * column, all lanes. In words of the assembler: compilers broadcast 16 bits by a
/// shuffle, and its port is one of the two that multiply.
[[gnu::always_inline]] inline __m512i plus_product(__m512i sum, __m512i column,
                                                   const std::uint16_t& factor) {
  asm("vfmadd231ph %2%{1to32%}, %1, %0" : "+v"(sum) : "v"(column), "m"(factor));
  return sum;
}

/// Neighbouring panels that are multiplied together.
template <std::size_t Panels>
struct near_panels {
  const std::uint16_t* at[Panels];
};

/// One block's products, added to `sum`.
template <packing Order, std::size_t Rows, std::size_t Panels>
[[gnu::always_inline]] inline void add_block(const std::uint16_t* a,
                                             const near_panels<Panels>& panels,
                                             __m512i (&sum)[Rows][Panels]) {
  constexpr std::size_t row_step = Order == packing::by_row ? block_ks : 1;
  constexpr std::size_t k_step = Order == packing::by_row ? 1 : tile_rows;
  for (std::size_t k = 0; k < block_ks; ++k) {
    __m512i column[Panels];
    unrolled<Panels>([&](auto i) {
      const std::uint16_t* const at = panels.at[i] + k * panel_columns;
      column[i] = _mm512_loadu_si512(at);
      _mm_prefetch(at + ahead * panel_columns, _MM_HINT_T0);
    });
    unrolled<Rows>([&](auto r) {
      unrolled<Panels>([&](auto i) {
        sum[r][i] = plus_product(sum[r][i], column[i], a[r * row_step + k * k_step]);
      });
    });
  }
}

template <std::size_t Half>
[[gnu::always_inline]] inline __m512 widened(const __m512i& sum) {
  return _mm512_maskz_cvtph_ps(all_lanes, _mm512_maskz_extracti64x4_epi64(0xf, sum, Half));
}

/// Rows of one tile times panels, before factors are taken back.
template <packing Order, std::size_t Rows, std::size_t Panels>
[[gnu::always_inline]] inline void add_runs(std::size_t k, const std::uint16_t* a,
                                            near_panels<Panels> panels,
                                            float (&total)[Rows][Panels * panel_columns]) {
  const std::size_t blocks = k / block_ks;
  for (std::size_t block = 0; block < blocks; block += run_blocks) {
    __m512i sum[Rows][Panels];
    unrolled<Rows>(
        [&](auto r) { unrolled<Panels>([&](auto i) { sum[r][i] = _mm512_setzero_si512(); }); });
    for (std::size_t i = block; i < block + run_blocks && i < blocks; ++i) {
      add_block<Order>(a, panels, sum);
      a += tile_rows * block_ks;
      unrolled<Panels>([&](auto n) { panels.at[n] += panel_columns * block_ks; });
    }
    unrolled<Rows>([&](auto r) {
      unrolled<2 * Panels>([&](auto part) {
        float* const to = &total[r][part * lanes];
        const __m512 before = block == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(to);
        _mm512_storeu_ps(to, _mm512_add_ps(before, widened<part % 2>(sum[r][part / 2])));
      });
    });
  }
}

const std::uint16_t* halves_of(const std::uint32_t* words) {
  return reinterpret_cast<const std::uint16_t*>(words);
}

/// `rows` of the Rows are there.
template <packing Order, std::size_t Rows, std::size_t Panels>
void multiply_tile(const fp16_product& p, std::size_t row, std::size_t rows, std::size_t column) {
  const std::size_t depth = fp16_depth(p.k);
  const std::uint32_t* const tile = p.rows + row * depth;
  const std::uint32_t* const panel = p.panels + column * depth;
  const std::size_t factors_at = padded(p.k) / 2;
  float* const c = p.c + row * p.c_stride + column;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t part = 0; part < 2 * Panels; ++part)
      _mm_prefetch(c + r * p.c_stride + part * lanes, _MM_HINT_ET0);
  near_panels<Panels> panels;
  for (std::size_t i = 0; i < Panels; ++i)
    panels.at[i] = halves_of(panel + i * panel_columns * depth);
  alignas(64) float total[Rows][Panels * panel_columns];
  add_runs<Order>(padded(p.k), halves_of(tile), panels, total);

  const auto* const row_factors = reinterpret_cast<const float*>(tile + tile_rows * factors_at);
  for (std::size_t part = 0; part < 2 * Panels && column + part * lanes < p.columns; ++part) {
    const __mmask16 mask = first_lanes(p.columns - column - part * lanes);
    const std::uint32_t* const of_panel = panel + part / 2 * panel_columns * depth;
    const __m512 factor = _mm512_loadu_ps(of_panel + panel_columns * factors_at + part % 2 * lanes);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t at = r * p.c_stride + part * lanes;
      const __m512 back = _mm512_mul_ps(factor, _mm512_set1_ps(row_factors[r]));
      const __m512 start = p.addend == nullptr
                               ? _mm512_setzero_ps()
                               : _mm512_maskz_loadu_ps(mask, p.addend + (c - p.c) + at);
      _mm512_mask_storeu_ps(c + at, mask,
                            _mm512_fmadd_ps(_mm512_loadu_ps(&total[r][part * lanes]), back, start));
    }
  }
}

template <packing Order, std::size_t Rows>
void multiply_row(const fp16_product& p, std::size_t row, std::size_t rows) {
  std::size_t column = 0;
  for (; column + panel_columns < p.columns; column += 2 * panel_columns)
    multiply_tile<Order, Rows, 2>(p, row, rows, column);
  if (column < p.columns) multiply_tile<Order, Rows, 1>(p, row, rows, column);
}

template <packing Order>
void multiply_rows(const fp16_product& p) {
  std::size_t row = 0;
  for (; row + tile_rows <= p.m; row += tile_rows)
    multiply_row<Order, tile_rows>(p, row, tile_rows);
  const std::size_t rest = p.m - row;
  if (rest > 8) return multiply_row<Order, tile_rows>(p, row, rest);
  if (rest > 4) return multiply_row<Order, 8>(p, row, rest);
  if (rest > 0) multiply_row<Order, 4>(p, row, rest);
}

void multiply(const fp16_product& p) {
  if (p.order == packing::by_k) return multiply_rows<packing::by_k>(p);
  multiply_rows<packing::by_row>(p);
}

constexpr fp16_kernels products{&pack_panel, &pack_rows, &multiply};

}  // namespace

extern const fp16_kernels* const avx512_fp16;
const fp16_kernels* const avx512_fp16 = &products;

}  // namespace troupe::gpu::kernels
