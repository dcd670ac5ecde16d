// Matrix product by packed panels. Included by cpu_tables.hpp only.
//
// A tile of sums stays in registers while k runs; its height is what the registers of the
// instruction set hold. A tall tile is as wide as a panel, which stays in L1 while tiles pass. A
// flat one takes neighbouring panels and so reads fewer factors for as many products; its rows stay
// in L1 while panels pass from L2, and what it writes is longer runs of memory. Source: Goto, van
// de Geijn 2008, register level only: callers cut k.

constexpr std::size_t panel_vectors = panel_columns / lanes;
constexpr std::size_t tile_rows = TROUPE_LANES == 16 ? 12 : (TROUPE_LANES == 8 ? 3 : 1);
constexpr std::size_t flat_panels = TROUPE_LANES == 16 ? 2 : 1;
constexpr std::size_t flat_rows = tile_rows / flat_panels;

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

/// Rows packed by row, as far as ks come in whole blocks; those of a tall tile lie in two flat
/// ones.
template <std::size_t Rows>
struct block_tile {
  block_tile(const float* values, std::size_t k) {
    unrolled<groups>([&](auto g) { at[g] = values + g * flat_rows * k; });
  }

  template <std::size_t Row>
  [[gnu::always_inline]] float factor() const {
    return at[Row / flat_rows][Row % flat_rows * packed_ks];
  }
  template <std::size_t>
  [[gnu::always_inline]] void prefetch() const {}
  [[gnu::always_inline]] void next() {
    unrolled<groups>([&](auto g) { ++at[g]; });
  }

  [[gnu::always_inline]] void next_block() {
    unrolled<groups>([&](auto g) { at[g] += (rows_of<g>() - 1) * packed_ks; });
  }
  [[gnu::always_inline]] void prefetch_block() const {
    unrolled<Rows>([&](auto r) {
      constexpr std::size_t g = r / flat_rows;
      __builtin_prefetch(at[g] + (2 * rows_of<g>() + r % flat_rows) * packed_ks);
    });
  }

  template <std::size_t Group>
  static constexpr std::size_t rows_of() {
    return Group + 1 < groups ? flat_rows : Rows - Group * flat_rows;
  }
  static constexpr std::size_t groups = (Rows + flat_rows - 1) / flat_rows;
  const float* at[groups];
};

/// Their last ks.
template <std::size_t Rows>
struct rest_tile {
  rest_tile(const block_tile<Rows>& blocks, std::size_t ks) : stride(ks) {
    unrolled<groups>([&](auto g) { at[g] = blocks.at[g]; });
  }

  template <std::size_t Row>
  [[gnu::always_inline]] float factor() const {
    return at[Row / flat_rows][Row % flat_rows * stride];
  }
  template <std::size_t>
  [[gnu::always_inline]] void prefetch() const {}
  [[gnu::always_inline]] void next() {
    unrolled<groups>([&](auto g) { ++at[g]; });
  }

  static constexpr std::size_t groups = block_tile<Rows>::groups;
  const float* at[groups];
  std::size_t stride;
};

/// Rows one after the other. A register points at three of them: addresses cost nothing in steps of
/// 0, 1 and 2 strides, and one register for each row is more than there are.
template <std::size_t Rows>
struct row_tile {
  row_tile(const float* values, std::size_t row_stride) : stride(row_stride) {
    unrolled<num_groups>([&](auto g) { at[g] = values + g * 3 * stride; });
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
  column_tile(const float* values, std::size_t k_stride) : at(values), stride(k_stride) {}

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

/// What some tiles leave out: from `columns` on, columns do not exist.
template <std::size_t Rows, class Panel>
inline void store_part(const product_of_panel<Panel>& p, std::size_t at, std::size_t columns,
                       const float* sums) {
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t column = 0; column < columns; ++column) {
      const std::size_t to = at + r * p.c_stride + column;
      const float sum = sums[r * panel_columns + column];
      p.c[to] = p.addend == nullptr ? sum : sum + p.addend[to];
    }
}

template <std::size_t Rows, class Panel>
[[gnu::always_inline]] inline void store_tile(const product_of_panel<Panel>& p, std::size_t at,
                                              std::size_t columns, const panel_row (&sum)[Rows]) {
  if (columns < panel_columns) {
    float sums[Rows * panel_columns];
    unrolled<Rows>([&](auto r) {
      unrolled<panel_vectors>(
          [&](auto v) { store(sums + r * panel_columns + v * lanes) = sum[r].part[v]; });
    });
    return store_part<Rows>(p, at, columns, sums);
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

/// sum += a * b for `count` ks of panels that are `height` elements apart; both operands move on.
template <std::size_t Panels, std::size_t Rows, class Panel, class Tile>
[[gnu::always_inline]] inline void add_products(std::size_t count, Tile& a, const Panel*& b,
                                                std::size_t height,
                                                panel_row (&sum)[Panels][Rows]) {
  for (std::size_t k = 0; k < count; ++k) {
    panel_row columns[Panels];
    unrolled<Panels>([&](auto i) { columns[i] = load_row(b + i * height); });
    unrolled<Rows>([&](auto r) {
      const float factor = a.template factor<r>();
      unrolled<Panels>([&](auto i) {
        unrolled<panel_vectors>([&](auto v) { sum[i][r].part[v] += factor * columns[i].part[v]; });
      });
    });
    unrolled<Panels>([&](auto i) {
      const Panel* const next = b + i * height + ahead * panel_columns;
      __builtin_prefetch(next);
      __builtin_prefetch(next + panel_columns / 2);
    });
    a.template prefetch<2 * ahead>();
    a.next();
    b += panel_columns;
  }
}

template <std::size_t Panels, std::size_t Rows, class Panel, class Tile>
[[gnu::always_inline]] inline void add_all_products(std::size_t k, Tile a, const Panel* b,
                                                    panel_row (&sum)[Panels][Rows]) {
  add_products(k, a, b, k * panel_columns, sum);
}

template <std::size_t Panels, std::size_t Rows, class Panel>
[[gnu::always_inline]] inline void add_all_products(std::size_t k, block_tile<Rows> a,
                                                    const Panel* b,
                                                    panel_row (&sum)[Panels][Rows]) {
  const std::size_t height = k * panel_columns;
  for (; k >= packed_ks; k -= packed_ks) {
    a.prefetch_block();
    add_products(packed_ks, a, b, height, sum);
    a.next_block();
  }
  rest_tile<Rows> rest(a, k);
  add_products(k, rest, b, height, sum);
}

/// The tile of `Panels` panels from `column` on, a multiple of panel_columns.
template <std::size_t Panels, template <std::size_t> class Tile, std::size_t Rows, class Panel>
inline void multiply_tile(const product_of_panel<Panel>& p, std::size_t row, std::size_t column,
                          Tile<Rows> a) {
  const std::size_t at = row * p.c_stride + column;
  panel_row sum[Panels][Rows] = {};
  // They arrive while k runs.
  unrolled<Rows>([&](auto r) {
    const float* const c = p.c + at + r * p.c_stride;
    unrolled<2 * Panels>([&](auto half) { __builtin_prefetch(c + half * panel_columns / 2, 1); });
  });
  add_all_products(p.k, a, p.panel + column * p.k, sum);
  unrolled<Panels>([&](auto i) {
    unrolled<Rows>([&](auto r) { into_order(sum[i][r], p.panel); });
    const std::size_t left = p.columns - column - i * panel_columns;
    store_tile<Rows>(p, at + i * panel_columns, left, sum[i]);
  });
}

/// body(rest as a constant), for a rest of at most Rows that is not 0.
template <std::size_t Rows, class Body>
inline void with_rest(std::size_t rest, const Body& body) {
  if constexpr (Rows > 0) {
    if (rest == Rows) {
      body(std::integral_constant<std::size_t, Rows>());
    } else {
      with_rest<Rows - 1>(rest, body);
    }
  }
}

/// body(first row, rows as a constant) for tiles of Rows rows and the rest.
template <std::size_t Rows, class Body>
inline void for_tiles(std::size_t m, const Body& body) {
  std::size_t row = 0;
  for (; row + Rows <= m; row += Rows)
    body(row, std::integral_constant<std::size_t, Rows>());
  with_rest<Rows - 1>(m - row, [&](auto rows) { body(row, rows); });
}

inline void multiply_panel(const panel_product& p) {
  const left_operand& a = p.a;
  for_tiles<tile_rows>(p.m, [&](std::size_t row, auto rows) {
    if (a.packed == packing::by_row)
      return multiply_tile<1>(p, row, 0, block_tile<rows>(a.values + row * p.k, p.k));
    if (a.k_stride == 1)
      return multiply_tile<1>(p, row, 0,
                              row_tile<rows>(a.values + row * a.row_stride, a.row_stride));
    multiply_tile<1>(p, row, 0, column_tile<rows>(a.values + row, a.k_stride));
  });
}

inline void multiply_bf16_panel(const bf16_panel_product& p) {
  for_tiles<tile_rows>(p.m, [&](std::size_t row, auto rows) {
    multiply_tile<1>(p, row, 0, block_tile<rows>(p.a.values + row * p.k, p.k));
  });
}

template <class Tile>
inline void multiply_tiles(const panel_product& p, std::size_t row, const Tile& a) {
  std::size_t column = 0;
  for (; column + (flat_panels - 1) * panel_columns < p.columns;
       column += flat_panels * panel_columns)
    multiply_tile<flat_panels>(p, row, column, a);
  if (column < p.columns) multiply_tile<1>(p, row, column, a);
}

inline void multiply_panels(const panel_product& p) {
  for_tiles<flat_rows>(p.m, [&](std::size_t row, auto rows) {
    if (p.a.packed == packing::by_row)
      return multiply_tiles(p, row, block_tile<rows>(p.a.values + row * p.k, p.k));
    if (p.a.packed == packing::none)
      return multiply_tiles(p, row,
                            row_tile<rows>(p.a.values + row * p.a.row_stride, p.a.row_stride));
    const std::size_t first = row / tile_rows * tile_rows;
    const std::size_t height = p.m - first < tile_rows ? p.m - first : tile_rows;
    multiply_tiles(p, row, column_tile<rows>(p.a.values + first * p.k + (row - first), height));
  });
}
