// Packing of a matrix product's operands. Included by cpu_tables.hpp only.
//
// They come to lie in the order in which the product reads them, rounded where that is asked for.

/// To the nearest bf16, even on a tie, as fp32; NaN stays NaN.
[[gnu::always_inline]] inline vector_f to_nearest_bf16(const vector_f& x) {
  const auto bits = __builtin_bit_cast(vector_u, x);
  const vector_u nearest = bits + 0x7fffU + ((bits >> 16U) & 1U);
  const auto is_nan = __builtin_bit_cast(vector_u, x != x);
  const vector_u chosen = (nearest & ~is_nan) | ((bits | 0x400000U) & is_nan);
  return __builtin_bit_cast(vector_f, chosen & 0xffff0000U);
}

template <rounding To>
[[gnu::always_inline]] inline vector_f load_rounded(const float* p) {
  return To == rounding::bf16 ? to_nearest_bf16(load(p)) : load(p);
}

/// The first `count` of a vector's elements, fewer than lanes.
template <rounding To>
[[gnu::always_inline]] inline void copy_part(const float* from, std::size_t count, float* to) {
  float part[lanes] = {};
  for (std::size_t i = 0; i < count; ++i)
    part[i] = from[i];
  store(part) = load_rounded<To>(part);
  for (std::size_t i = 0; i < count; ++i)
    to[i] = part[i];
}

template <rounding To>
[[gnu::always_inline]] inline void copy_rounded(const float* from, std::size_t count, float* to) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    store(to + i) = load_rounded<To>(from + i);
  if (i < count) copy_part<To>(from + i, count - i, to + i);
}

/// `count` values that are `stride` apart.
template <rounding To>
[[gnu::always_inline]] inline void collect(const float* from, std::size_t stride, std::size_t count,
                                           float* to) {
  for (std::size_t i = 0; i < count; ++i)
    copy_part<To>(from + i * stride, 1, to + i);
}

/// Rows that are read side by side are too short for the processor to see a stream in them.
constexpr std::size_t fetched_columns = 32;

/// lanes columns of `rows` rows, of which there are at most lanes: square[j][i] is
/// from[i * stride + j], 0 for other rows.
template <rounding To>
[[gnu::always_inline]] inline void turn(const float* from, std::size_t stride, std::size_t rows,
                                        vector_f* square) {
  unrolled<lanes>([&](auto i) {
    square[i] = i < rows ? load_rounded<To>(from + i * stride) : vector_f{};
    if (i < rows) __builtin_prefetch(from + i * stride + fetched_columns);
  });
  transpose_vectors(square);
}

/// Rows whose elements are side by side.
template <rounding To>
inline void pack_by_row(const row_source& s, std::size_t first, std::size_t rows, float* to) {
  const float* const from = s.from + first * s.row_stride;
  std::size_t k = 0;
  for (; k + packed_ks <= s.k; k += packed_ks)
    for (std::size_t row = 0; row < rows; ++row, to += packed_ks) {
      const float* const at = from + row * s.row_stride + k;
      __builtin_prefetch(at + fetched_columns);
      unrolled<packed_ks / lanes>(
          [&](auto v) { store(to + v * lanes) = load_rounded<To>(at + v * lanes); });
    }
  for (std::size_t row = 0; row < rows; ++row, to += s.k - k)
    copy_rounded<To>(from + row * s.row_stride + k, s.k - k, to);
}

/// ks whose elements are side by side.
template <rounding To>
inline void pack_by_k(const row_source& s, float* to) {
  const std::size_t whole = s.rows / tile_rows * tile_rows;
  for (std::size_t k = 0; k < s.k; ++k) {
    const float* const from = s.from + k * s.k_stride;
    float* const first = to + k * tile_rows;
    std::size_t row = 0;
    // Whole vectors, where they hold a tile, while the next ks write again what is too much.
    if (lanes >= tile_rows && k + lanes / tile_rows < s.k)
      for (; row < whole && row + lanes <= s.rows; row += tile_rows)
        store(first + row * s.k) = load_rounded<To>(from + row);
    for (; row < whole; row += tile_rows)
      copy_rounded<To>(from + row, tile_rows, first + row * s.k);
    copy_rounded<To>(from + whole, s.rows - whole, to + whole * s.k + k * (s.rows - whole));
  }
}

template <rounding To>
inline void pack_rows_as(const row_source& s, float* to) {
  if (packing_of(s.k_stride) == packing::by_k) return pack_by_k<To>(s, to);
  for (std::size_t row = 0; row < s.rows; row += flat_rows)
    pack_by_row<To>(s, row, s.rows - row < flat_rows ? s.rows - row : flat_rows, to + row * s.k);
}

inline void pack_rows(const row_source& s, float* to) {
  if (s.to == rounding::bf16) return pack_rows_as<rounding::bf16>(s, to);
  pack_rows_as<rounding::none>(s, to);
}

template <rounding To>
inline void pack_panel_as(const panel_source& s, float* panel) {
  if (s.columns < panel_columns)
    for (std::size_t i = 0; i < s.k * panel_columns; ++i)
      panel[i] = 0;
  if (s.column_stride == 1) {
    for (std::size_t k = 0; k < s.k; ++k) {
      const float* const from = s.from + k * s.k_stride;
      __builtin_prefetch(from + ahead * s.k_stride);
      __builtin_prefetch(from + ahead * s.k_stride + panel_columns / 2);
      copy_rounded<To>(from, s.columns, panel + k * panel_columns);
    }
    return;
  }
  const std::size_t columns = s.columns / lanes * lanes;
  const std::size_t height = s.k_stride == 1 ? s.k / lanes * lanes : 0;
  for (std::size_t column = 0; column < columns; column += lanes)
    for (std::size_t k = 0; k < height; k += lanes) {
      vector_f square[lanes];
      turn<To>(s.from + column * s.column_stride + k, s.column_stride, lanes, square);
      unrolled<lanes>([&](auto j) { store(panel + (k + j) * panel_columns + column) = square[j]; });
    }
  for (std::size_t k = 0; k < s.k; ++k) {
    const std::size_t first = k < height ? columns : 0;
    collect<To>(s.from + first * s.column_stride + k * s.k_stride, s.column_stride,
                s.columns - first, panel + k * panel_columns + first);
  }
}

inline void pack_panel(const panel_source& s, float* panel) {
  if (s.to == rounding::bf16) return pack_panel_as<rounding::bf16>(s, panel);
  pack_panel_as<rounding::none>(s, panel);
}
