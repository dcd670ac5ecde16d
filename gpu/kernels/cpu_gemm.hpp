// Matrix product by packed panels. Included by cpu_tables.hpp only.
//
// A tile of tile_rows x panel_columns sums stays in registers while k runs; the tile height is what
// the registers of the instruction set hold. Source: Goto, van de Geijn 2008, register level only:
// callers cut k so that a panel stays in L1.

constexpr std::size_t panel_vectors = panel_columns / lanes;
constexpr std::size_t tile_rows = TROUPE_LANES == 16 ? 12 : (TROUPE_LANES == 8 ? 3 : 1);

/// How many ks before their use operands are fetched.
constexpr std::size_t ahead = 16;

/// The columns of a panel at one k, in the order of `into_order`.
struct panel_row {
  vector_f part[panel_vectors];
};

[[gnu::always_inline]] inline panel_row load_row(const float* panel) {
  panel_row row;
  for (std::size_t v = 0; v < panel_vectors; ++v)
    row.part[v] = load(panel + v * lanes);
  return row;
}

/// A 32-bit word holds two columns, and taking its halves apart is cheaper than widening in order.
[[gnu::always_inline]] inline panel_row load_row(const std::uint16_t* panel) {
  panel_row row;
  for (std::size_t v = 0; v < panel_vectors; v += 2) {
    const vector_u words = load_words(panel + v * lanes);
    row.part[v] = __builtin_bit_cast(vector_f, words << 16U);
    row.part[v + 1] = __builtin_bit_cast(vector_f, words & 0xffff0000U);
  }
  return row;
}

[[gnu::always_inline]] inline void into_order(panel_row&, const float*) {}

[[gnu::always_inline]] inline void into_order(panel_row& row, const std::uint16_t*) {
  for (std::size_t v = 0; v < panel_vectors; v += 2) {
    const vector_f even = row.part[v];
    const vector_f odd = row.part[v + 1];
    row.part[v] = low_of_pairs(even, odd);
    row.part[v + 1] = high_of_pairs(even, odd);
  }
}

/// Body for 0 to Count - 1, each a constant there: sums that a variable indexed would live in
/// memory.
template <class Body, std::size_t... I>
[[gnu::always_inline]] inline void unrolled(const Body& body, std::index_sequence<I...>) {
  (body(std::integral_constant<std::size_t, I>()), ...);
}

template <std::size_t Count, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  unrolled(body, std::make_index_sequence<Count>());
}

/// Rows that pack_rows laid out: those of a tile side by side for each k.
template <std::size_t Rows>
struct packed_tile {
  explicit packed_tile(const left_operand& a) : at(a.values) {}

  template <std::size_t Row>
  [[gnu::always_inline]] float factor() const {
    return at[Row];
  }
  [[gnu::always_inline]] void next() { at += Rows; }
  template <std::size_t Ks>
  [[gnu::always_inline]] void prefetch() const {
    __builtin_prefetch(at + Ks * Rows);
  }

  const float* at;
};

/// Rows one after the other. A register points at three of them: addresses cost nothing in steps of
/// 0, 1 and 2 strides, and one register for each row is more than there are.
template <std::size_t Rows>
struct row_tile {
  explicit row_tile(const left_operand& a) : stride(a.row_stride) {
    unrolled<num_groups>([&](auto g) { at[g] = a.values + g * 3 * stride; });
  }

  template <std::size_t Row>
  [[gnu::always_inline]] float factor() const {
    return at[Row / 3][Row % 3 * stride];
  }
  template <std::size_t>
  [[gnu::always_inline]] void prefetch() const {}
  [[gnu::always_inline]] void next() {
    unrolled<num_groups>([&](auto g) { ++at[g]; });
  }

  static constexpr std::size_t num_groups = (Rows + 2) / 3;
  const float* at[num_groups];
  std::size_t stride;
};

/// Rows side by side at any distance between ks.
template <std::size_t Rows>
struct column_tile {
  explicit column_tile(const left_operand& a) : at(a.values), stride(a.k_stride) {}

  template <std::size_t Row>
  [[gnu::always_inline]] float factor() const {
    return at[Row];
  }
  [[gnu::always_inline]] void next() { at += stride; }
  template <std::size_t>
  [[gnu::always_inline]] void prefetch() const {}

  const float* at;
  std::size_t stride;
};

/// What some tiles leave out: from `p.columns` on, columns do not exist.
template <std::size_t Rows, class Panel>
inline void store_part(const product_of_panel<Panel>& p, std::size_t at, const float* sums) {
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t column = 0; column < p.columns; ++column) {
      const std::size_t to = at + r * p.c_stride + column;
      const float sum = sums[r * panel_columns + column];
      p.c[to] = p.addend == nullptr ? sum : sum + p.addend[to];
    }
}

template <std::size_t Rows, class Panel>
[[gnu::always_inline]] inline void store_tile(const product_of_panel<Panel>& p, std::size_t at,
                                              const panel_row (&sum)[Rows]) {
  if (p.columns < panel_columns) {
    float sums[Rows * panel_columns];
    unrolled<Rows>([&](auto r) {
      unrolled<panel_vectors>(
          [&](auto v) { store(sums + r * panel_columns + v * lanes) = sum[r].part[v]; });
    });
    return store_part<Rows>(p, at, sums);
  }
  float* const c = p.c + at;
  if (p.addend == nullptr) {
    unrolled<Rows>([&](auto r) {
      unrolled<panel_vectors>(
          [&](auto v) { store(c + r * p.c_stride + v * lanes) = sum[r].part[v]; });
    });
    return;
  }
  const float* const addend = p.addend + at;
  unrolled<Rows>([&](auto r) {
    unrolled<panel_vectors>([&](auto v) {
      const std::size_t to = r * p.c_stride + v * lanes;
      store(c + to) = sum[r].part[v] + load(addend + to);
    });
  });
}

template <std::size_t Rows, class Panel, class Tile>
inline void multiply_tile(const product_of_panel<Panel>& p, std::size_t row, Tile a) {
  panel_row sum[Rows] = {};
  // They arrive while k runs.
  unrolled<Rows>([&](auto r) {
    const float* const c = p.c + (row + r) * p.c_stride;
    __builtin_prefetch(c, 1);
    __builtin_prefetch(c + panel_columns / 2, 1);
  });
  const Panel* b = p.panel;
  for (std::size_t k = 0; k < p.k; ++k) {
    const panel_row column = load_row(b);
    unrolled<Rows>([&](auto r) {
      const float factor = a.template factor<r>();
      unrolled<panel_vectors>([&](auto v) { sum[r].part[v] += factor * column.part[v]; });
    });
    __builtin_prefetch(b + ahead * panel_columns);
    __builtin_prefetch(b + ahead * panel_columns + panel_columns / 2);
    a.template prefetch<2 * ahead>();
    a.next();
    b += panel_columns;
  }
  unrolled<Rows>([&](auto r) { into_order(sum[r], p.panel); });
  store_tile<Rows>(p, row * p.c_stride, sum);
}

template <template <std::size_t> class Tile, std::size_t Rows, class Panel>
inline void multiply_last_tile(const product_of_panel<Panel>& p, std::size_t row,
                               const left_operand& a) {
  if constexpr (Rows > 0) {
    if (p.m - row == Rows) {
      multiply_tile<Rows>(p, row, Tile<Rows>(a));
    } else {
      multiply_last_tile<Tile, Rows - 1>(p, row, a);
    }
  }
}

template <template <std::size_t> class Tile, class Panel>
inline void multiply_rows(const product_of_panel<Panel>& p, std::size_t tile_stride) {
  left_operand a = p.a;
  std::size_t row = 0;
  for (; row + tile_rows <= p.m; row += tile_rows, a.values += tile_stride)
    multiply_tile<tile_rows>(p, row, Tile<tile_rows>(a));
  multiply_last_tile<Tile, tile_rows - 1>(p, row, a);
}

inline void multiply_panel(const panel_product& p) {
  if (p.a.is_packed) return multiply_rows<packed_tile>(p, tile_rows * p.k);
  if (p.a.k_stride == 1) return multiply_rows<row_tile>(p, tile_rows * p.a.row_stride);
  multiply_rows<column_tile>(p, tile_rows);
}

inline void multiply_bf16_panel(const bf16_panel_product& p) {
  multiply_rows<packed_tile>(p, tile_rows * p.k);
}

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

/// `count` values `stride` apart, to places `to_stride` apart.
template <rounding To>
[[gnu::always_inline]] inline void copy_apart(const float* from, std::size_t stride,
                                              std::size_t count, float* to, std::size_t to_stride) {
  for (std::size_t i = 0; i < count; ++i)
    copy_part<To>(from + i * stride, 1, to + i * to_stride);
}

/// Rows that are read side by side are too short for the processor to see a stream in them.
constexpr std::size_t fetched_columns = 32;

/// The first `columns` of lanes columns of `rows` rows, of which there are at most lanes:
/// square[j][i] = from[i * stride + j], 0 for other rows.
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
[[gnu::always_inline]] inline void pack_tile(const row_source& s, std::size_t first,
                                             std::size_t rows, float* to) {
  const float* const from = s.from + first * s.row_stride;
  std::size_t k = 0;
  for (; k + lanes <= s.k; k += lanes) {
    vector_f square[lanes];
    turn<To>(from + k, s.row_stride, rows, square);
    // Whole vectors while the next ks write again what is too much.
    unrolled<lanes>([&](auto j) {
      float* const at = to + (k + j) * rows;
      if ((k + j) * rows + lanes <= s.k * rows) {
        store(at) = square[j];
      } else {
        for (std::size_t row = 0; row < rows; ++row)
          at[row] = square[j][row];
      }
    });
  }
  for (; k < s.k; ++k)
    copy_apart<To>(from + k, s.row_stride, rows, to + k * rows, 1);
}

template <rounding To>
inline void pack_rows_as(const row_source& s, float* to) {
  const std::size_t whole = s.rows / tile_rows * tile_rows;
  if (s.k_stride == 1) {
    for (std::size_t row = 0; row < whole; row += tile_rows)
      pack_tile<To>(s, row, tile_rows, to + row * s.k);
    if (whole < s.rows) pack_tile<To>(s, whole, s.rows - whole, to + whole * s.k);
    return;
  }
  for (std::size_t k = 0; k < s.k; ++k) {
    const float* const from = s.from + k * s.k_stride;
    float* const first = to + k * tile_rows;
    std::size_t row = 0;
    // Likewise.
    for (; k + lanes / tile_rows < s.k && row < whole && row + lanes <= s.rows; row += tile_rows)
      store(first + row * s.k) = load_rounded<To>(from + row);
    for (; row < whole; row += tile_rows)
      copy_rounded<To>(from + row, tile_rows, first + row * s.k);
    copy_rounded<To>(from + whole, s.rows - whole, to + whole * s.k + k * (s.rows - whole));
  }
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
    copy_apart<To>(s.from + first * s.column_stride + k * s.k_stride, s.column_stride,
                   s.columns - first, panel + k * panel_columns + first, 1);
  }
}

inline void pack_panel(const panel_source& s, float* panel) {
  if (s.to == rounding::bf16) return pack_panel_as<rounding::bf16>(s, panel);
  pack_panel_as<rounding::none>(s, panel);
}
