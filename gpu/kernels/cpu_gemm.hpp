// Matrix product by packed panels. Included by cpu_tables.hpp only.
//
// A tile of tile_rows x panel_columns sums stays in registers while k runs; the tile height is what
// the registers of the instruction set hold. Source: Goto, van de Geijn 2008, register level only:
// callers cut k so that a panel stays in L1.

constexpr std::size_t panel_vectors = panel_columns / lanes;
constexpr std::size_t tile_rows = TROUPE_LANES == 16 ? 12 : (TROUPE_LANES == 8 ? 3 : 1);

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

/// Strides of a tile of rows.
struct row_strides {
  std::size_t row, k;
};

/// Those of rows that pack_rows laid out by k: known here, they need no registers.
struct packed_strides {
  static constexpr std::size_t row = 1;
  static constexpr std::size_t k = tile_rows;
};

template <std::size_t Rows, class Panel, class Strides>
[[gnu::always_inline]] inline void multiply_tile(const product_of_panel<Panel>& p, std::size_t row,
                                                 const float* a, const Strides& strides) {
  panel_row sum[Rows] = {};
  const Panel* b = p.panel;
  for (std::size_t k = 0; k < p.k; ++k) {
    const panel_row column = load_row(b);
    for (std::size_t r = 0; r < Rows; ++r) {
      const float factor = a[r * strides.row];
      for (std::size_t v = 0; v < panel_vectors; ++v)
        sum[r].part[v] += factor * column.part[v];
    }
    a += strides.k;
    b += panel_columns;
  }
  for (std::size_t r = 0; r < Rows; ++r) {
    into_order(sum[r], p.panel);
    const std::size_t at = (row + r) * p.c_stride;
    if (p.columns == panel_columns) {
      for (std::size_t v = 0; v < panel_vectors; ++v) {
        const vector_f result =
            p.addend == nullptr ? sum[r].part[v] : sum[r].part[v] + load(p.addend + at + v * lanes);
        store(p.c + at + v * lanes) = result;
      }
      continue;
    }
    float values[panel_columns];
    for (std::size_t v = 0; v < panel_vectors; ++v)
      store(values + v * lanes) = sum[r].part[v];
    for (std::size_t column = 0; column < p.columns; ++column)
      p.c[at + column] =
          p.addend == nullptr ? values[column] : values[column] + p.addend[at + column];
  }
}

template <std::size_t Rows, class Panel, class Strides>
inline void multiply_last_tile(const product_of_panel<Panel>& p, std::size_t row, const float* a,
                               const Strides& strides) {
  if constexpr (Rows > 0) {
    if (p.m - row == Rows) {
      multiply_tile<Rows>(p, row, a, strides);
    } else {
      multiply_last_tile<Rows - 1>(p, row, a, strides);
    }
  }
}

template <class Panel, class Strides>
inline void multiply_rows(const product_of_panel<Panel>& p, const Strides& strides,
                          std::size_t tile_stride) {
  const float* a = p.a.values;
  std::size_t row = 0;
  for (; row + tile_rows <= p.m; row += tile_rows, a += tile_stride)
    multiply_tile<tile_rows>(p, row, a, strides);
  multiply_last_tile<tile_rows - 1>(p, row, a, strides);
}

inline void multiply_panel(const panel_product& p) {
  if (p.a.tile_stride != 0) return multiply_rows(p, packed_strides(), p.a.tile_stride);
  multiply_rows(p, row_strides{p.a.row_stride, p.a.k_stride}, tile_rows * p.a.row_stride);
}

inline void multiply_bf16_panel(const bf16_panel_product& p) {
  multiply_rows(p, row_strides{p.a.row_stride, p.a.k_stride}, tile_rows * p.a.row_stride);
}

inline left_operand pack_rows(const row_source& s, float* to) {
  if (s.k_stride == 1) {
    for (std::size_t row = 0; row < s.rows; ++row)
      copy(s.from + row * s.row_stride, s.k, to + row * s.k);
    return {to, s.k, 1, 0};
  }
  for (std::size_t k = 0; k < s.k; ++k) {
    const float* const from = s.from + k * s.k_stride;
    float* const first = to + k * tile_rows;
    std::size_t row = 0;
    // Whole vectors while the next ks write again what is too much.
    for (; k + lanes / tile_rows < s.k && row + lanes <= s.rows; row += tile_rows)
      store(first + row * s.k) = load(from + row);
    for (; row < s.rows; row += tile_rows)
      copy(from + row, s.rows - row < tile_rows ? s.rows - row : tile_rows, first + row * s.k);
  }
  return {to, 1, tile_rows, tile_rows * s.k};
}

/// A square of lanes x lanes: to[j * to_stride + i] = from[i * from_stride + j].
[[gnu::always_inline]] inline void transpose(const float* from, std::size_t from_stride, float* to,
                                             std::size_t to_stride) {
  vector_f rows[lanes];
  for (std::size_t i = 0; i < lanes; ++i)
    rows[i] = load(from + i * from_stride);
  transpose_vectors(rows);
  for (std::size_t i = 0; i < lanes; ++i)
    store(to + i * to_stride) = rows[i];
}

inline void pack_panel(const panel_source& s, float* panel) {
  if (s.columns < panel_columns)
    for (std::size_t i = 0; i < s.k * panel_columns; ++i)
      panel[i] = 0;
  if (s.column_stride == 1) {
    for (std::size_t k = 0; k < s.k; ++k)
      copy(s.from + k * s.k_stride, s.columns, panel + k * panel_columns);
    return;
  }
  const std::size_t columns = s.columns / lanes * lanes;
  const std::size_t height = s.k_stride == 1 ? s.k / lanes * lanes : 0;
  for (std::size_t column = 0; column < columns; column += lanes)
    for (std::size_t k = 0; k < height; k += lanes)
      transpose(s.from + column * s.column_stride + k, s.column_stride,
                panel + k * panel_columns + column, panel_columns);
  for (std::size_t column = 0; column < s.columns; ++column)
    for (std::size_t k = column < columns ? height : 0; k < s.k; ++k)
      panel[k * panel_columns + column] = s.from[column * s.column_stride + k * s.k_stride];
}
