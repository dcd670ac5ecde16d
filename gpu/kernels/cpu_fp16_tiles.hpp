// Tiles of matrix products in fp16. Included by cpu_fp16.cpp only.
//
// A tile of sums, rows by one or two panels, stays in registers for a run of ks, is then widened
// and added to fp32 sums in memory. Rows come packed either way or stand in place.

constexpr std::size_t tile_rows = packed_row_step;
constexpr std::size_t block_ks = fp16_block_ks;

/// Blocks whose sums are fp16.
constexpr std::size_t run_blocks = 4;

/// How many ks before their use panels are fetched.
constexpr std::size_t ahead = 16;

/// ks of one turn of the loop, and of a packed row that lie side by side: all of a tile's rows are
/// then as near as the short addresses of instructions reach, and long ones cost a twelfth.
constexpr std::size_t turn_ks = 8;

constexpr std::size_t padded(std::size_t k) {
  return round_up(k, block_ks);
}

constexpr std::size_t smaller(std::size_t a, std::size_t b) {
  return a < b ? a : b;
}

const std::uint16_t* halves_of(const std::uint32_t* words) {
  return reinterpret_cast<const std::uint16_t*>(words);
}

template <packing Order>
struct packed_rows {
  static constexpr std::size_t row_step = Order == packing::by_row ? turn_ks : 1;
  static constexpr std::size_t k_step = Order == packing::by_row ? 1 : tile_rows;

  template <std::size_t Row, std::size_t K>
  [[gnu::always_inline]] const std::uint16_t& factor() const {
    return at[Row * row_step + K * k_step];
  }
  [[gnu::always_inline]] void next() { at += turn_ks * tile_rows; }

  const std::uint16_t* at;
};
using rows_by_row = packed_rows<packing::by_row>;

/// Side by side, at any distance between ks.
struct rows_in_place {
  template <std::size_t Row, std::size_t K>
  [[gnu::always_inline]] const std::uint16_t& factor() const {
    return at[K * k_stride + Row];
  }
  [[gnu::always_inline]] void next() { at += turn_ks * k_stride; }

  const std::uint16_t* at;
  std::size_t k_stride;
};

/// Panels one behind the other, each with its columns' factors behind it.
struct half_panels {
  const std::uint32_t* at;
  std::size_t k;  ///< that they were packed with

  const std::uint16_t* halves(std::size_t panel, std::size_t first_k) const {
    return halves_of(at + panel * panel_columns * fp16_depth(k)) + first_k * panel_columns;
  }
  const float* factors(std::size_t panel) const {
    const std::size_t behind = panel_columns * padded(k) / 2;
    return reinterpret_cast<const float*>(at + panel * panel_columns * fp16_depth(k) + behind);
  }
};

/// c = addend + rows * columns for ks of the panels from first_k on. What rows hold beyond `k`, to
/// the next whole block, is zero.
struct tile_product {
  std::size_t k;
  std::size_t first_k;
  std::size_t columns;
  const float* row_factors;
  half_panels panels;
  const float* addend;  ///< null for 0; may be c
  float* c;
  std::size_t c_stride;
};

/// sum + factor * column, all lanes. In words of the assembler: compilers broadcast 16 bits by a
/// shuffle, and its port is one of the two that multiply.
[[gnu::always_inline]] inline __m512i plus_product(__m512i sum, __m512i column,
                                                   const std::uint16_t& factor) {
  asm("vfmadd231ph %2%{1to32%}, %1, %0" : "+v"(sum) : "v"(column), "m"(factor));
  return sum;
}

/// Likewise: compilers take halves that are in a register from there, by that port.
[[gnu::always_inline]] inline __m512 widened(const std::uint16_t* halves) {
  __m512 values;
  asm("vcvtph2psx %1, %0" : "=v"(values) : "m"(*reinterpret_cast<const __m256i*>(halves)));
  return values;
}

/// Neighbouring panels that are multiplied together.
template <std::size_t Panels>
struct near_panels {
  const std::uint16_t* at[Panels];
};

/// A body of unrolled loops: so many of them are more than compilers inline on their own account.
#define TROUPE_INLINE __attribute__((always_inline))

/// One run's products as halves; rows and panels move on.
template <std::size_t Rows, std::size_t Panels, class Source>
void multiply_run(std::size_t turns, Source& a, near_panels<Panels>& panels,
                  std::uint16_t (&halves)[Rows][Panels * panel_columns]) {
  __m512i sum[Rows][Panels];
  const auto for_sums = [](const auto& body) TROUPE_INLINE {
    unrolled<Rows>(
        [&](auto r) TROUPE_INLINE { unrolled<Panels>([&](auto i) TROUPE_INLINE { body(r, i); }); });
  };
  for_sums([&](auto r, auto i) TROUPE_INLINE { sum[r][i] = _mm512_setzero_si512(); });
  for (std::size_t turn = 0; turn < turns; ++turn) {
    unrolled<turn_ks>([&](auto k) TROUPE_INLINE {
      __m512i column[Panels];
      unrolled<Panels>([&](auto i) TROUPE_INLINE {
        const std::uint16_t* const at = panels.at[i] + k * panel_columns;
        column[i] = _mm512_loadu_si512(at);
        _mm_prefetch(at + ahead * panel_columns, _MM_HINT_T0);
      });
      for_sums([&](auto r, auto i) TROUPE_INLINE {
        sum[r][i] = plus_product(sum[r][i], column[i], a.template factor<r, k>());
      });
    });
    a.next();
    for (std::size_t i = 0; i < Panels; ++i)
      panels.at[i] += turn_ks * panel_columns;
  }
  for_sums([&](auto r, auto i)
               TROUPE_INLINE { _mm512_store_si512(&halves[r][i * panel_columns], sum[r][i]); });
}

/// c = addend + sums with their factors.
template <std::size_t Panels, class Sum>
[[gnu::always_inline]] inline void store_tile(const tile_product& p, std::size_t rows,
                                              std::size_t column, const Sum& sum_at) {
  float* const c = p.c + column;
  for (std::size_t part = 0; part < 2 * Panels && column + part * lanes < p.columns; ++part) {
    const __mmask16 mask = first_lanes(p.columns - column - part * lanes);
    const float* const factors = p.panels.factors(column / panel_columns + part / 2);
    const __m512 factor = _mm512_loadu_ps(factors + part % 2 * lanes);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t at = r * p.c_stride + part * lanes;
      const __m512 back = _mm512_mul_ps(factor, _mm512_set1_ps(p.row_factors[r]));
      const __m512 sum = sum_at(r, part);
      _mm512_mask_storeu_ps(
          c + at, mask,
          p.addend == nullptr
              ? _mm512_mul_ps(sum, back)
              : _mm512_fmadd_ps(sum, back, _mm512_maskz_loadu_ps(mask, p.addend + column + at)));
    }
  }
}

/// `rows` of the Rows are there.
template <std::size_t Rows, std::size_t Panels, class Source>
void multiply_tile(const tile_product& p, std::size_t rows, std::size_t column, Source a) {
  float* const c = p.c + column;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t part = 0; part < 2 * Panels; ++part)
      _mm_prefetch(c + r * p.c_stride + part * lanes, _MM_HINT_ET0);
  const std::size_t panel = column / panel_columns;
  near_panels<Panels> panels;
  for (std::size_t i = 0; i < Panels; ++i)
    panels.at[i] = p.panels.halves(panel + i, p.first_k);
  alignas(64) std::uint16_t halves[Rows][Panels * panel_columns];
  alignas(64) float total[Rows][Panels * panel_columns];
  const auto widened_at = [&](std::size_t r, std::size_t part) {
    return widened(&halves[r][part * lanes]);
  };
  const auto added_at = [&](std::size_t r, std::size_t part) {
    return _mm512_add_ps(_mm512_load_ps(&total[r][part * lanes]), widened_at(r, part));
  };
  const std::size_t blocks = padded(p.k) / block_ks;
  std::size_t block = 0;
  for (; block + run_blocks < blocks; block += run_blocks) {
    multiply_run(run_blocks * block_ks / turn_ks, a, panels, halves);
    for (std::size_t r = 0; r < Rows; ++r)
      for (std::size_t part = 0; part < 2 * Panels; ++part)
        _mm512_store_ps(&total[r][part * lanes],
                        block == 0 ? widened_at(r, part) : added_at(r, part));
  }
  multiply_run((blocks - block) * block_ks / turn_ks, a, panels, halves);
  if (block == 0) {
    store_tile<Panels>(p, rows, column, widened_at);
  } else {
    store_tile<Panels>(p, rows, column, added_at);
  }
}

template <std::size_t Rows, class Source>
void multiply_columns(const tile_product& p, std::size_t rows, const Source& a) {
  std::size_t column = 0;
  for (; column + panel_columns < p.columns; column += 2 * panel_columns)
    multiply_tile<Rows, 2>(p, rows, column, a);
  if (column < p.columns) multiply_tile<Rows, 1>(p, rows, column, a);
}

/// At most tile_rows rows, not 0.
template <class Source>
void multiply_rows(const tile_product& p, std::size_t rows, const Source& a) {
  if (rows > 8) return multiply_columns<tile_rows>(p, rows, a);
  if (rows > 4) return multiply_columns<8>(p, rows, a);
  multiply_columns<4>(p, rows, a);
}
