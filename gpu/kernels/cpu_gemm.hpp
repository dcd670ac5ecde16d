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
