// Packing of operands as fp16, each row and column with its factor. Included by cpu_fp16.cpp only.

__m512 load(const float* from, __mmask16 which) {
  return _mm512_maskz_loadu_ps(which, from);
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

void put_halves(__m256i* to, __m512 values, __m512 scale) {
  _mm256_storeu_si256(to, halves(values, scale));
}

/// Panel elements from (k, part * lanes) on.
__m256i* place_in_panel(std::uint32_t* panel, std::size_t k, std::size_t part) {
  return halves_at(panel, k * panel_columns + part * lanes);
}

constexpr std::size_t panel_parts = panel_columns / lanes;

/// Columns of a part that exist.
std::size_t columns_left(const panel_source& s, std::size_t part) {
  return s.columns > part * lanes ? s.columns - part * lanes : 0;
}

/// body(first, which are there) for vectors over `count` values.
template <class Body>
[[gnu::always_inline]] inline void for_vectors(std::size_t count, const Body& body) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    body(i, all_lanes);
  if (i < count) body(i, first_lanes(count - i));
}

/// Columns whose elements are `k_stride` apart, and side by side with other columns'.
void pack_side_by_side(const panel_source& s, std::uint32_t* panel) {
  __m512 most[panel_parts] = {};
  const auto values_at = [&](std::size_t k, std::size_t part) {
    const std::size_t left = columns_left(s, part);
    return load(s.from + k * s.k_stride + (left == 0 ? 0 : part * lanes), first_lanes(left));
  };
  for (std::size_t k = 0; k < s.k; ++k)
    for (std::size_t part = 0; part < panel_parts; ++part) {
      _mm_prefetch(s.from + (k + ahead) * s.k_stride + part * lanes, _MM_HINT_T0);
      most[part] = larger(most[part], values_at(k, part));
    }
  factors by[panel_parts];
  for (std::size_t part = 0; part < panel_parts; ++part) {
    by[part] = factors_of(most[part]);
    _mm512_storeu_ps(panel + panel_columns * padded(s.k) / 2 + part * lanes, by[part].inverse);
  }
  for (std::size_t k = 0; k < padded(s.k); ++k)
    for (std::size_t part = 0; part < panel_parts; ++part)
      _mm256_storeu_si256(
          place_in_panel(panel, k, part),
          k < s.k ? halves(values_at(k, part), by[part].scale) : _mm256_setzero_si256());
}

__m512 largest_of(const float* from, std::size_t count, std::size_t next) {
  __m512 most = _mm512_setzero_ps();
  for_vectors(count, [&](std::size_t i, __mmask16 which) {
    _mm_prefetch(from + next + i, _MM_HINT_T0);
    most = larger(most, load(from + i, which));
  });
  return largest(most);
}

/// Columns whose elements are side by side: squares of them are turned.
void pack_turned(const panel_source& s, std::uint32_t* panel) {
  float scale[panel_columns] = {};
  float* const inverse = reinterpret_cast<float*>(panel + panel_columns * padded(s.k) / 2);
  for (std::size_t column = 0; column < panel_columns; ++column) {
    const factors by = factors_of(
        column < s.columns ? largest_of(s.from + column * s.column_stride, s.k, s.column_stride)
                           : _mm512_setzero_ps());
    scale[column] = _mm512_cvtss_f32(by.scale);
    inverse[column] = _mm512_cvtss_f32(by.inverse);
  }
  for (std::size_t part = 0; part < panel_parts; ++part) {
    const std::size_t left = columns_left(s, part);
    const __m512 by = _mm512_loadu_ps(scale + part * lanes);
    for (std::size_t k = 0; k < padded(s.k); k += lanes) {
      const std::size_t height = k < s.k ? s.k - k : 0;
      vector_f square[lanes];
      unrolled<lanes>([&](auto i) {
        const std::size_t column = part * lanes + i;
        const __mmask16 which = first_lanes(i < left ? height : 0);
        square[i] =
            which == 0 ? _mm512_setzero_ps() : load(s.from + column * s.column_stride + k, which);
      });
      transpose_vectors(square);
      unrolled<lanes>(
          [&](auto j) { put_halves(place_in_panel(panel, k + j, part), square[j], by); });
    }
  }
}

void pack_panel(const panel_source& s, std::uint32_t* panel) {
  if (s.column_stride == 1) return pack_side_by_side(s, panel);
  pack_turned(s, panel);
}

const float* factors_of_tile(const std::uint32_t* tile, std::size_t k) {
  return reinterpret_cast<const float*>(tile + tile_rows * padded(k) / 2);
}

/// A row of a tile that is packed by row: [k / turn_ks][row][turn_ks].
struct row_of_tile {
  std::uint32_t* tile;
  std::size_t row;

  void put(std::size_t k, __m256i values) const {
    static_assert(lanes == 2 * turn_ks);
    const auto at = [&](std::size_t turn) {
      return reinterpret_cast<__m128i*>(halves_at(tile, (turn * tile_rows + row) * turn_ks));
    };
    _mm_storeu_si128(at(k / turn_ks), _mm256_castsi256_si128(values));
    _mm_storeu_si128(at(k / turn_ks + 1), _mm256_maskz_extracti32x4_epi32(0xf, values, 1));
  }
  /// Zeros from the vector after `count` to the end of its block.
  void fill(std::size_t count, std::size_t end) const {
    for (std::size_t k = round_up(count, lanes); k < padded(end); k += lanes)
      put(k, _mm256_setzero_si256());
  }
};

/// Rows whose elements are side by side.
void pack_by_row(const row_source& s, std::size_t first, std::size_t rows, std::uint32_t* tile) {
  float inverse[lanes] = {};
  for (std::size_t r = 0; r < rows; ++r) {
    const float* const from = s.from + (first + r) * s.row_stride;
    const factors by = factors_of(largest_of(from, s.k, s.row_stride));
    inverse[r] = _mm512_cvtss_f32(by.inverse);
    const row_of_tile to{tile, r};
    for_vectors(s.k, [&](std::size_t k, __mmask16 which) {
      to.put(k, halves(load(from + k, which), by.scale));
    });
    to.fill(s.k, s.k);
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
    for_vectors(s.rows, [&](std::size_t row, __mmask16 which) {
      _mm_prefetch(s.from + (k + ahead) * s.k_stride + row, _MM_HINT_T0);
      const __m512 values = load(s.from + k * s.k_stride + row, which);
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
        put_halves(to, load(from + row, first_lanes(s.rows - row)), scale);
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
    pack_by_row(s, row, smaller(s.rows - row, tile_rows), rows + row * fp16_depth(s.k));
}
