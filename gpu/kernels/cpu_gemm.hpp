// Matrix product by packed panels. Included by cpu_tables.hpp only.
//
// A tile of sums stays in registers while k runs: some rows, and runs of columns of two vectors
// each, a part of a panel or, with the widest vectors, all of it. A tall tile is one run wide, and
// its panel stays in L1 while tiles pass. A flat one is as wide as the registers allow and so reads
// fewer factors for as many products; its rows stay in L1 while panels pass from L2, and what it
// writes is longer stretches of memory. Source: Goto, van de Geijn 2008, register level only:
// callers cut k.

constexpr std::size_t run_vectors = 2;
constexpr std::size_t run_columns = run_vectors * lanes;
constexpr std::size_t runs_per_panel = panel_columns / run_columns;
constexpr std::size_t flat_runs = TROUPE_LANES == 16 ? 2 : 1;
constexpr std::size_t flat_rows = 6;
constexpr std::size_t tile_rows = flat_rows * flat_runs;

/// Elements of a line of the caches.
constexpr std::size_t line_columns = 16;

/// How many ks before their use operands are fetched.
constexpr std::size_t ahead = 16;

/// The columns of a run at one k, in the order of `into_order`.
struct run_row {
  vector_f part[run_vectors];
};

[[gnu::always_inline]] inline run_row load_row(const float* run) {
  return {{load(run), load(run + lanes)}};
}

/// A 32-bit word holds two columns, and taking its halves apart is cheaper than widening in order.
[[gnu::always_inline]] inline run_row load_row(const std::uint16_t* run) {
  const vector_u words = load_words(run);
  return {{__builtin_bit_cast(vector_f, words << 16U),
           __builtin_bit_cast(vector_f, words & 0xffff0000U)}};
}

[[gnu::always_inline]] inline void into_order(run_row&, const float*) {}

[[gnu::always_inline]] inline void into_order(run_row& row, const std::uint16_t*) {
  const vector_f even = row.part[0];
  const vector_f odd = row.part[1];
  row.part[0] = low_of_pairs(even, odd);
  row.part[1] = high_of_pairs(even, odd);
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
struct rest_tile : block_tile<Rows> {
  rest_tile(const block_tile<Rows>& blocks, std::size_t ks)
      : block_tile<Rows>(blocks), stride(ks) {}

  template <std::size_t Row>
  [[gnu::always_inline]] float factor() const {
    return this->at[Row / flat_rows][Row % flat_rows * stride];
  }

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
      const float sum = sums[r * run_columns + column];
      p.c[to] = p.addend == nullptr ? sum : sum + p.addend[to];
    }
}

template <std::size_t Rows, class Panel>
[[gnu::always_inline]] inline void store_tile(const product_of_panel<Panel>& p, std::size_t at,
                                              std::size_t columns, const run_row (&sum)[Rows]) {
  if (columns < run_columns) {
    float sums[Rows * run_columns];
    unrolled<Rows>([&](auto r) {
      unrolled<run_vectors>(
          [&](auto v) { store(sums + r * run_columns + v * lanes) = sum[r].part[v]; });
    });
    return store_part<Rows>(p, at, columns, sums);
  }
  float* const c = p.c + at;
  if (p.addend == nullptr) {
    unrolled<Rows>([&](auto r) {
      unrolled<run_vectors>(
          [&](auto v) { store(c + r * p.c_stride + v * lanes) = sum[r].part[v]; });
    });
    return;
  }
  const float* const addend = p.addend + at;
  unrolled<Rows>([&](auto r) {
    unrolled<run_vectors>([&](auto v) {
      const std::size_t to = r * p.c_stride + v * lanes;
      store(c + to) = sum[r].part[v] + load(addend + to);
    });
  });
}

/// Columns in panels, or where they were: next to each other, with any distance between ks.
struct packed_columns {
  static constexpr std::size_t k_stride = panel_columns;
};
struct columns_in_place {
  std::size_t k_stride;
};

/// Where runs of columns begin, and how far they are apart.
template <class Panel, class Columns>
struct run_place {
  const Panel* at;
  std::size_t distance;
  Columns columns;
};

template <class Panel>
inline run_place<Panel, packed_columns> place_of(const product_of_panel<Panel>& p,
                                                 std::size_t column, packed_columns columns) {
  const std::size_t in_panel = column % panel_columns;
  return {p.panel + (column - in_panel) * p.k + in_panel,
          runs_per_panel == 1 ? p.k * panel_columns : run_columns, columns};
}

inline run_place<float, columns_in_place> place_of(const panel_product& p, std::size_t column,
                                                   columns_in_place columns) {
  return {p.panel + column, run_columns, columns};
}

/// sum += a * b for `count` ks; both operands move on.
template <std::size_t Runs, std::size_t Rows, class Place, class Tile>
[[gnu::always_inline]] inline void add_products(std::size_t count, Tile& a, Place& b,
                                                run_row (&sum)[Runs][Rows]) {
  for (std::size_t k = 0; k < count; ++k) {
    run_row columns[Runs];
    unrolled<Runs>([&](auto i) { columns[i] = load_row(b.at + i * b.distance); });
    unrolled<Rows>([&](auto r) {
      const float factor = a.template factor<r>();
      unrolled<Runs>([&](auto i) {
        unrolled<run_vectors>([&](auto v) { sum[i][r].part[v] += factor * columns[i].part[v]; });
      });
    });
    unrolled<Runs>([&](auto i) {
      const auto* const next = b.at + i * b.distance + ahead * b.columns.k_stride;
      unrolled<(run_columns + line_columns - 1) / line_columns>(
          [&](auto l) { __builtin_prefetch(next + l * line_columns); });
    });
    a.template prefetch<2 * ahead>();
    a.next();
    b.at += b.columns.k_stride;
  }
}

template <std::size_t Runs, std::size_t Rows, class Place, class Tile>
[[gnu::always_inline]] inline void add_all_products(std::size_t k, Tile a, Place b,
                                                    run_row (&sum)[Runs][Rows]) {
  add_products(k, a, b, sum);
}

template <std::size_t Runs, std::size_t Rows, class Place>
[[gnu::always_inline]] inline void add_all_products(std::size_t k, block_tile<Rows> a, Place b,
                                                    run_row (&sum)[Runs][Rows]) {
  for (; k >= packed_ks; k -= packed_ks) {
    a.prefetch_block();
    add_products(packed_ks, a, b, sum);
    a.next_block();
  }
  rest_tile<Rows> rest(a, k);
  add_products(k, rest, b, sum);
}

/// The tile of `Runs` runs from `column` on, a multiple of run_columns. They are all of one panel,
/// or each a whole one.
template <std::size_t Runs, template <std::size_t> class Tile, std::size_t Rows, class Panel,
          class Columns>
inline void multiply_tile(const product_of_panel<Panel>& p, std::size_t row, std::size_t column,
                          Tile<Rows> a, Columns columns) {
  const std::size_t at = row * p.c_stride + column;
  run_row sum[Runs][Rows] = {};
  // They arrive while k runs.
  unrolled<Rows>([&](auto r) {
    const float* const c = p.c + at + r * p.c_stride;
    unrolled<(Runs * run_columns + line_columns - 1) / line_columns>(
        [&](auto l) { __builtin_prefetch(c + l * line_columns, 1); });
  });
  add_all_products(p.k, a, place_of(p, column, columns), sum);
  unrolled<Runs>([&](auto i) {
    unrolled<Rows>([&](auto r) { into_order(sum[i][r], p.panel); });
    const std::size_t first = column + i * run_columns;
    store_tile<Rows>(p, at + i * run_columns, p.columns - first, sum[i]);
  });
}

/// All columns, as many runs at a time as are `Runs` or left.
template <std::size_t Runs, class Panel, class Tile, class Columns = packed_columns>
inline void multiply_tiles(const product_of_panel<Panel>& p, std::size_t row, const Tile& a,
                           Columns columns = {}) {
  std::size_t column = 0;
  for (; column + (Runs - 1) * run_columns < p.columns; column += Runs * run_columns)
    multiply_tile<Runs>(p, row, column, a, columns);
  for (; column < p.columns; column += run_columns)
    multiply_tile<1>(p, row, column, a, columns);
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

/// Few rows leave registers for more of a panel, and need more sums to keep the units busy.
template <std::size_t Rows>
constexpr std::size_t tall_runs = Rows <= 1 && runs_per_panel >= 4   ? 4
                                  : Rows <= 3 && runs_per_panel >= 2 ? 2
                                                                     : 1;

inline void multiply_panel(const panel_product& p) {
  const left_operand& a = p.a;
  for_tiles<tile_rows>(p.m, [&](std::size_t row, auto rows) {
    constexpr std::size_t runs = tall_runs<rows>;
    if (a.packed == packing::by_row)
      return multiply_tiles<runs>(p, row, block_tile<rows>(a.values + row * p.k, p.k));
    if (a.k_stride == 1)
      return multiply_tiles<runs>(p, row,
                                  row_tile<rows>(a.values + row * a.row_stride, a.row_stride));
    multiply_tiles<runs>(p, row, column_tile<rows>(a.values + row, a.k_stride));
  });
}

inline void multiply_bf16_panel(const bf16_panel_product& p) {
  for_tiles<tile_rows>(p.m, [&](std::size_t row, auto rows) {
    multiply_tiles<tall_runs<rows>>(p, row, block_tile<rows>(p.a.values + row * p.k, p.k));
  });
}

inline void multiply_panels(const panel_product& p) {
  for_tiles<flat_rows>(p.m, [&](std::size_t row, auto rows) {
    constexpr std::size_t runs = flat_runs > 1 ? flat_runs : tall_runs<rows>;
    if (p.a.packed == packing::by_row)
      return multiply_tiles<runs>(p, row, block_tile<rows>(p.a.values + row * p.k, p.k));
    if (p.a.packed == packing::none)
      return multiply_tiles<runs>(
          p, row, row_tile<rows>(p.a.values + row * p.a.row_stride, p.a.row_stride));
    const std::size_t first = row / tile_rows * tile_rows;
    const std::size_t height = p.m - first < tile_rows ? p.m - first : tile_rows;
    const column_tile<rows> a(p.a.values + first * p.k + (row - first), height);
    if (p.column_k_stride > 0)
      return multiply_tiles<runs>(p, row, a, columns_in_place{p.column_k_stride});
    multiply_tiles<runs>(p, row, a);
  });
}
