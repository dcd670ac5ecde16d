// Matrix product by packed panels. Included by cpu_tables.hpp only.
//
// A tile of tile_rows x panel_columns sums stays in registers while k runs; the tile height is what
// the registers of the instruction set hold. Source: Goto, van de Geijn 2008, register level only:
// callers cut k so that a panel stays in L1.

constexpr std::size_t panel_vectors = panel_columns / lanes;
constexpr std::size_t tile_rows = TROUPE_LANES == 16 ? 12 : (TROUPE_LANES == 8 ? 3 : 1);

template <std::size_t Rows>
[[gnu::always_inline]] inline void multiply_tile(const panel_product& p, std::size_t row) {
  vector_f sum[Rows][panel_vectors] = {};
  const float* a = p.a + row * p.a_row_stride;
  const float* b = p.panel;
  for (std::size_t k = 0; k < p.k; ++k) {
    vector_f column[panel_vectors];
    for (std::size_t v = 0; v < panel_vectors; ++v)
      column[v] = load(b + v * lanes);
    for (std::size_t r = 0; r < Rows; ++r) {
      const float factor = a[r * p.a_row_stride];
      for (std::size_t v = 0; v < panel_vectors; ++v)
        sum[r][v] += factor * column[v];
    }
    a += p.a_k_stride;
    b += panel_columns;
  }
  for (std::size_t r = 0; r < Rows; ++r) {
    const std::size_t at = (row + r) * p.c_stride;
    if (p.columns == panel_columns) {
      for (std::size_t v = 0; v < panel_vectors; ++v) {
        const vector_f result =
            p.addend == nullptr ? sum[r][v] : sum[r][v] + load(p.addend + at + v * lanes);
        store(p.c + at + v * lanes) = result;
      }
      continue;
    }
    float values[panel_columns];
    for (std::size_t v = 0; v < panel_vectors; ++v)
      store(values + v * lanes) = sum[r][v];
    for (std::size_t column = 0; column < p.columns; ++column)
      p.c[at + column] =
          p.addend == nullptr ? values[column] : values[column] + p.addend[at + column];
  }
}

template <std::size_t Rows>
inline void multiply_last_tile(const panel_product& p, std::size_t row) {
  if constexpr (Rows > 0) {
    if (p.m - row == Rows) {
      multiply_tile<Rows>(p, row);
    } else {
      multiply_last_tile<Rows - 1>(p, row);
    }
  }
}

inline void multiply_panel(const panel_product& p) {
  std::size_t row = 0;
  for (; row + tile_rows <= p.m; row += tile_rows)
    multiply_tile<tile_rows>(p, row);
  multiply_last_tile<tile_rows - 1>(p, row);
}

inline void pack_panel(const panel_source& s, float* panel) {
  if (s.columns < panel_columns)
    for (std::size_t i = 0; i < s.k * panel_columns; ++i)
      panel[i] = 0;
  if (s.column_stride == 1) {
    for (std::size_t k = 0; k < s.k; ++k)
      for (std::size_t column = 0; column < s.columns; ++column)
        panel[k * panel_columns + column] = s.from[k * s.k_stride + column];
    return;
  }
  for (std::size_t column = 0; column < s.columns; ++column)
    for (std::size_t k = 0; k < s.k; ++k)
      panel[k * panel_columns + column] = s.from[column * s.column_stride + k * s.k_stride];
}
