// Causal attention with products in fp16. Included by cpu_fp16.cpp only.
//
// As in cpu_attention.hpp the scores of some query rows exist at a time, and the backward pass
// makes them again (Dao et al. 2022). Softmax and its gradient are fp32. Probabilities become
// halves as they are; a query's gradients of scores have a factor, which goes to the query itself
// where a product adds up queries, for there is none for each of these.

/// Queries that are added up at once for the gradients of keys and values, of whole blocks and
/// whole tiles, and the keys whose probabilities for these exist at a time.
constexpr std::size_t query_rows = 8 * tile_rows;
constexpr std::size_t key_rows = 10 * query_rows;
static_assert(query_rows % block_ks == 0 && key_rows % panel_columns == 0);

/// Panels over `columns` columns of k elements each.
void pack_panels(panel_source s, std::uint32_t* panels) {
  const float* const from = s.from;
  const std::size_t columns = s.columns;
  for (std::size_t column = 0; column < columns; column += panel_columns) {
    s.from = from + column * s.column_stride;
    s.columns = smaller(columns - column, panel_columns);
    pack_panel(s, panels + column * fp16_depth(s.k));
  }
}

constexpr std::size_t panel_words(std::size_t k, std::size_t columns) {
  return round_up(columns, panel_columns) * fp16_depth(k);
}

/// Cuts a piece of memory at the beginnings of lines.
struct cutter {
  float* begin;
  std::size_t taken = 0;

  float* take(std::size_t count) {
    float* const piece = begin == nullptr ? nullptr : begin + taken;
    taken += round_up(count, lanes);
    return piece;
  }
  std::uint32_t* take_words(std::size_t count) {
    return reinterpret_cast<std::uint32_t*>(take(count));
  }
};

struct forward_buffers {
  forward_buffers(std::size_t length, std::size_t head_dim, cutter from)
      : stride(round_up(length, panel_columns)),
        keys(from.take_words(panel_words(head_dim, length))),
        values(from.take_words(panel_words(length, head_dim))),
        queries(from.take_words(tile_rows * fp16_depth(head_dim))),
        probabilities(from.take_words(tile_rows * fp16_depth(length))),
        scores(from.take(tile_rows * stride)),
        count(from.taken) {}

  std::size_t stride;
  std::uint32_t* keys;           ///< panels of positions
  std::uint32_t* values;         ///< panels of [length][head_dim]
  std::uint32_t* queries;        ///< a tile
  std::uint32_t* probabilities;  ///< a tile, before they are divided by their sum
  float* scores;                 ///< [tile_rows][stride]
  std::size_t count;
};

constexpr float log2_of_e = 1.44269504F;

/// 2^x within 3e-6 of it, which halves cannot tell from it; 0 below 2^-66, where they are that too,
/// for whatever is smaller. NaN stays. A minimax polynomial of 2^f for f in [-1/2, 1/2].
__m512 power_of_two(__m512 x) {
  const __m512 magic = _mm512_set1_ps(12582912.0F);
  const __m512 whole = _mm512_sub_ps(_mm512_add_ps(x, magic), magic);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(9.5701020e-3F);
  for (const float next : {5.5917861e-2F, 2.4024745e-1F, 6.9312181e-1F, 9.9999926e-1F})
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(next));
  const __mmask16 is_seen = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-66), _CMP_NLE_UQ);
  return _mm512_maskz_scalef_ps(is_seen, p, whole);
}

float sum_of(__m512 values) {
  float part[lanes];
  _mm512_storeu_ps(part, values);
  float sum = 0;
  for (const float value : part)
    sum += value;
  return sum;
}

/// exp(scaled score - the largest) of each score, and the sum of them.
float put_exponentials(const float* scores, std::size_t visible, float scale, float largest,
                       row_of_tile to) {
  const __m512 factor = _mm512_set1_ps(scale * log2_of_e);
  const __m512 offset = _mm512_set1_ps(largest * scale * log2_of_e);
  __m512 sum = _mm512_setzero_ps();
  for_vectors(visible, [&](std::size_t i, __mmask16 which) {
    const __m512 x = _mm512_fmsub_ps(load(scores + i, which), factor, offset);
    const __m512 shares = _mm512_maskz_mov_ps(which, power_of_two(x));
    sum = _mm512_add_ps(sum, shares);
    to.put(i, halves(shares, _mm512_set1_ps(1)));
  });
  return sum_of(sum);
}

void attend(const attention_task& t, const forward_buffers& b, std::size_t begin,
            std::size_t head) {
  const std::size_t rows = smaller(t.length - begin, tile_rows);
  const std::size_t seen = begin + rows;
  const std::size_t offset = head * t.head_dim;
  pack_by_row({t.q + begin * t.q_stride + offset, rows, t.head_dim, t.q_stride}, 0, rows,
              b.queries);
  multiply_rows({t.head_dim,
                 0,
                 seen,
                 factors_of_tile(b.queries, t.head_dim),
                 {b.keys, t.head_dim},
                 nullptr,
                 b.scores,
                 b.stride},
                rows, rows_by_row{halves_of(b.queries)});
  float shares[tile_rows] = {};
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const scores = b.scores + row * b.stride;
    const std::size_t visible = begin + row + 1;
    const row_of_tile to{b.probabilities, row};
    const float largest = row_max(visible, scores);
    const float sum = put_exponentials(scores, visible, t.scale, largest, to);
    to.fill(visible, seen);
    t.lse[(begin + row) * t.lse_stride + head] = largest * t.scale + __builtin_logf(sum);
    shares[row] = 1.0F / sum;
  }
  multiply_rows({seen,
                 0,
                 t.head_dim,
                 shares,
                 {b.values, t.length},
                 nullptr,
                 t.out + begin * t.out_stride + offset,
                 t.out_stride},
                rows, rows_by_row{halves_of(b.probabilities)});
}

void attention(const attention_task& t) {
  const forward_buffers b(t.length, t.head_dim, {t.scratch});
  pack_panels({t.k, t.head_dim, t.length, 1, t.k_stride}, b.keys);
  pack_panels({t.v, t.length, t.head_dim, t.v_stride, 1}, b.values);
  for (std::size_t head = 0; head < t.num_query_heads; ++head)
    for (std::size_t begin = 0; begin < t.length; begin += tile_rows)
      attend(t, b, begin, head);
}

/// Rows of halves that all tiles of keys read, an odd number of lines apart: else they would share
/// a few lines of the first cache.
constexpr std::size_t halves_stride(std::size_t keys) {
  constexpr std::size_t line = 32;
  return ((keys + tile_rows + line - 1) / line | 1U) * line;
}

struct backward_buffers {
  backward_buffers(std::size_t length, std::size_t head_dim, cutter from)
      : stride(round_up(smaller(length, key_rows), panel_columns)),
        half_stride(halves_stride(stride)),
        keys(from.take_words(panel_words(head_dim, length))),
        values(from.take_words(panel_words(head_dim, length))),
        rows(from.take_words(panel_words(length, head_dim))),
        queries(from.take_words(query_rows * fp16_depth(head_dim))),
        out_gradients(from.take_words(query_rows * fp16_depth(head_dim))),
        query_panels(from.take_words(panel_words(query_rows, head_dim))),
        out_panels(from.take_words(panel_words(query_rows, head_dim))),
        scaled_queries(from.take(query_rows * head_dim)),
        scores(from.take(tile_rows * stride)),
        gradients(from.take(tile_rows * stride)),
        gradient_tile(from.take_words(tile_rows * fp16_depth(stride))),
        half_scores(from.take_words(query_rows * half_stride / 2)),
        half_gradients(from.take_words(query_rows * half_stride / 2)),
        key_gradients(from.take(length * head_dim)),
        value_gradients(from.take(length * head_dim)),
        count(from.taken) {}

  std::size_t stride, half_stride;
  std::uint32_t* keys;           ///< panels of positions
  std::uint32_t* values;         ///< panels of positions
  std::uint32_t* rows;           ///< keys as panels of [length][head_dim]
  std::uint32_t* queries;        ///< tiles of some rows
  std::uint32_t* out_gradients;  ///< tiles of them
  std::uint32_t* query_panels;   ///< panels of [query_rows][head_dim]
  std::uint32_t* out_panels;     ///< panels of [query_rows][head_dim]
  float* scaled_queries;         ///< [query_rows][head_dim]
  float* scores;                 ///< [tile_rows][stride]
  float* gradients;              ///< [tile_rows][stride]
  std::uint32_t* gradient_tile;  ///< of the scores, a tile
  std::uint32_t* half_scores;    ///< probabilities, [query_rows][half_stride]
  std::uint32_t* half_gradients;
  float* key_gradients;  ///< [length][head_dim]
  float* value_gradients;
  std::size_t count;
};

/// Some queries of one head against some keys.
struct query_block {
  std::size_t head;
  std::size_t begin, rows;
  std::size_t first_key, keys;

  std::size_t end() const { return begin + rows; }
};

/// Zeros from the vector after `count` to `end`.
void fill_in_place(std::uint32_t* words, std::size_t at, std::size_t count, std::size_t end) {
  for (std::size_t i = round_up(count, lanes); i < end; i += lanes)
    _mm256_storeu_si256(halves_at(words, at + i), _mm256_setzero_si256());
}

/// Of one query, whose scores and gradients of probabilities are there: halves of probabilities and
/// of scores' gradients. Returns the factor of these.
float score_gradients(const attention_task& t, const backward_buffers& b, const query_block& q,
                      std::size_t row, std::size_t seen) {
  const std::size_t position = q.begin + row;
  const std::size_t at = position * t.out_stride + q.head * t.head_dim;
  const __m512 shared = _mm512_set1_ps(dot(t.head_dim, t.out_gradient + at, t.out + at));
  const __m512 offset = _mm512_set1_ps(t.lse[position * t.lse_stride + q.head] * log2_of_e);
  const __m512 factor = _mm512_set1_ps(t.scale * log2_of_e);
  const __m512 scale = _mm512_set1_ps(t.scale);
  const float* const scores = b.scores + row % tile_rows * b.stride;
  float* const gradients = b.gradients + row % tile_rows * b.stride;
  const std::size_t in_place = row * b.half_stride;
  const std::size_t visible = smaller(position + 1 - q.first_key, q.keys);
  __m512 most = _mm512_setzero_ps();
  for_vectors(visible, [&](std::size_t i, __mmask16 which) {
    const __m512 x = _mm512_fmsub_ps(load(scores + i, which), factor, offset);
    const __m512 p = _mm512_maskz_mov_ps(which, power_of_two(x));
    put_halves(halves_at(b.half_scores, in_place + i), p, _mm512_set1_ps(1));
    const __m512 up = _mm512_sub_ps(load(gradients + i, which), shared);
    const __m512 g = _mm512_mul_ps(_mm512_mul_ps(p, up), scale);
    most = larger(most, g);
    _mm512_mask_storeu_ps(gradients + i, which, g);
  });
  const factors by = factors_of(largest(most));
  const row_of_tile to{b.gradient_tile, row % tile_rows};
  for_vectors(visible, [&](std::size_t i, __mmask16 which) {
    const __m256i g = halves(load(gradients + i, which), by.scale);
    to.put(i, g);
    _mm256_storeu_si256(halves_at(b.half_gradients, in_place + i), g);
  });
  to.fill(visible, seen);
  fill_in_place(b.half_scores, in_place, visible, q.keys);
  fill_in_place(b.half_gradients, in_place, visible, q.keys);
  return _mm512_cvtss_f32(by.inverse);
}

/// A tile of its queries: gradients of scores, and with them those of queries.
void backward_tile(const attention_task& t, const backward_buffers& b, const query_block& q,
                   std::size_t first, float* row_factors) {
  const std::size_t rows = smaller(q.rows - first, tile_rows);
  const std::size_t seen = smaller(q.begin + first + rows - q.first_key, q.keys);
  const auto multiply_by = [&](const std::uint32_t* packed, const std::uint32_t* panels,
                               float* to) {
    const std::uint32_t* const tile = packed + first * fp16_depth(t.head_dim);
    multiply_rows({t.head_dim,
                   0,
                   seen,
                   factors_of_tile(tile, t.head_dim),
                   {panels + q.first_key * fp16_depth(t.head_dim), t.head_dim},
                   nullptr,
                   to,
                   b.stride},
                  rows, rows_by_row{halves_of(tile)});
  };
  multiply_by(b.queries, b.keys, b.scores);
  multiply_by(b.out_gradients, b.values, b.gradients);
  for (std::size_t row = 0; row < rows; ++row)
    row_factors[first + row] = score_gradients(t, b, q, first + row, seen);
  float* const to = t.q_gradient + (q.begin + first) * t.gradient_stride + q.head * t.head_dim;
  multiply_rows({seen,
                 q.first_key,
                 t.head_dim,
                 row_factors + first,
                 {b.rows, t.length},
                 q.first_key == 0 ? nullptr : to,
                 to,
                 t.gradient_stride},
                rows, rows_by_row{halves_of(b.gradient_tile)});
}

/// to += what its queries add to the keys' or values' gradients.
void add_up_queries(const attention_task& t, const backward_buffers& b, const query_block& q,
                    const std::uint32_t* halves, const std::uint32_t* panels, float* to) {
  static constexpr float ones[tile_rows] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  for (std::size_t key = 0; key < q.keys; key += tile_rows) {
    const std::size_t position = q.first_key + key;
    const std::size_t before = position < q.begin ? 0 : position - q.begin;
    const std::size_t first = before / block_ks * block_ks;
    float* const c = to + position * t.head_dim;
    multiply_rows({q.rows - first, first, t.head_dim, ones, {panels, q.rows}, c, c, t.head_dim},
                  smaller(q.keys - key, tile_rows),
                  rows_in_place{halves_of(halves) + first * b.half_stride + key, b.half_stride});
  }
}

void backward_keys(const attention_task& t, const backward_buffers& b, const query_block& q) {
  float row_factors[query_rows] = {};
  for (std::size_t first = 0; first < q.rows; first += tile_rows)
    backward_tile(t, b, q, first, row_factors);
  for (std::size_t row = q.rows; row < padded(q.rows); ++row)
    for (std::uint32_t* const halves : {b.half_scores, b.half_gradients})
      fill_in_place(halves, row * b.half_stride, 0, q.keys);
  add_up_queries(t, b, q, b.half_scores, b.out_panels, b.value_gradients);
  const float* const queries = t.q + q.begin * t.q_stride + q.head * t.head_dim;
  for (std::size_t row = 0; row < q.rows; ++row)
    for (std::size_t i = 0; i < t.head_dim; ++i)
      b.scaled_queries[row * t.head_dim + i] = queries[row * t.q_stride + i] * row_factors[row];
  pack_panels({b.scaled_queries, q.rows, t.head_dim, t.head_dim, 1}, b.query_panels);
  add_up_queries(t, b, q, b.half_gradients, b.query_panels, b.key_gradients);
}

void backward_queries(const attention_task& t, const backward_buffers& b, query_block q) {
  const std::size_t offset = q.head * t.head_dim;
  const float* const up = t.out_gradient + q.begin * t.out_stride + offset;
  pack_rows({t.q + q.begin * t.q_stride + offset, q.rows, t.head_dim, t.q_stride}, b.queries);
  pack_rows({up, q.rows, t.head_dim, t.out_stride}, b.out_gradients);
  pack_panels({up, q.rows, t.head_dim, t.out_stride, 1}, b.out_panels);
  for (; q.first_key < q.end(); q.first_key += key_rows) {
    q.keys = smaller(q.end() - q.first_key, key_rows);
    backward_keys(t, b, q);
  }
}

void attention_backward(const attention_task& t) {
  const backward_buffers b(t.length, t.head_dim, {t.scratch});
  pack_panels({t.k, t.head_dim, t.length, 1, t.k_stride}, b.keys);
  pack_panels({t.v, t.head_dim, t.length, 1, t.v_stride}, b.values);
  pack_panels({t.k, t.length, t.head_dim, t.k_stride, 1}, b.rows);
  for (std::size_t i = 0; i < t.length * t.head_dim; ++i) {
    b.key_gradients[i] = 0;
    b.value_gradients[i] = 0;
  }
  for (std::size_t head = 0; head < t.num_query_heads; ++head)
    for (std::size_t begin = 0; begin < t.length; begin += query_rows)
      backward_queries(t, b, {head, begin, smaller(t.length - begin, query_rows), 0, 0});
  for (std::size_t row = 0; row < t.length; ++row)
    for (std::size_t i = 0; i < t.head_dim; ++i) {
      t.k_gradient[row * t.gradient_stride + i] = b.key_gradients[row * t.head_dim + i];
      t.v_gradient[row * t.gradient_stride + i] = b.value_gradients[row * t.head_dim + i];
    }
}

/// For either pass.
std::size_t attention_scratch_of(std::size_t length, std::size_t head_dim) {
  const std::size_t forward = forward_buffers(length, head_dim, {nullptr}).count;
  const std::size_t backward = backward_buffers(length, head_dim, {nullptr}).count;
  return forward < backward ? backward : forward;
}
