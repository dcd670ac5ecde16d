// Causal attention over one sequence and one key head. Included by cpu_tables.hpp only.
//
// Scores of a tile of query rows exist at a time; the backward pass makes them again from the kept
// log-sum-exp (Dao et al. 2022). Keys and values are packed once and serve every query head that
// shares them.

constexpr std::size_t query_tile = attention_query_tile;

constexpr std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

/// c[m, columns] (+)= a * panels; the panels of k_max rows each stand one after the other.
struct tile_product {
  std::size_t m;
  std::size_t k;
  std::size_t columns;
  const float* a;
  std::size_t a_row_stride;
  std::size_t a_k_stride;
  const float* panels;
  std::size_t k_max;
  float* c;
  std::size_t c_stride;
};

enum class into : std::uint8_t { overwrite, add };

inline void multiply(const tile_product& t, into mode) {
  for (std::size_t column = 0; column < t.columns; column += panel_columns) {
    const std::size_t left = t.columns - column;
    const float* const panel = t.panels + column * t.k_max;
    multiply_panel({t.m,
                    t.k,
                    left < panel_columns ? left : panel_columns,
                    {t.a, t.a_row_stride, t.a_k_stride},
                    panel,
                    mode == into::add ? t.c + column : nullptr,
                    t.c + column,
                    t.c_stride});
  }
}

/// Panels over `columns` columns of k rows each.
inline void pack(const float* from, std::size_t k, std::size_t columns, std::size_t k_stride,
                 std::size_t column_stride, float* panels) {
  for (std::size_t column = 0; column < columns; column += panel_columns) {
    const std::size_t left = columns - column;
    pack_panel({from + column * column_stride, k, left < panel_columns ? left : panel_columns,
                k_stride, column_stride},
               panels + column * k);
  }
}

struct attention_buffers {
  std::size_t padded_length;
  std::size_t padded_dim;
  float* key_columns;    ///< k transposed: [head_dim][length]
  float* value_columns;  ///< v transposed
  float* rows;           ///< [length][head_dim]: v in the forward, k in the backward pass
  float* scores;         ///< [query_tile][length]
  float* gradients;      ///< [query_tile][length]
  float* tile_rows_q;    ///< [query_tile][head_dim] panels
  float* tile_rows_out;
};

inline attention_buffers cut_scratch(const attention_task& t) {
  attention_buffers b{};
  b.padded_length = round_up(t.length, panel_columns);
  b.padded_dim = round_up(t.head_dim, panel_columns);
  float* at = t.scratch;
  const auto take = [&at](std::size_t count) {
    float* const begin = at;
    at += count;
    return begin;
  };
  b.key_columns = take(t.head_dim * b.padded_length);
  b.value_columns = take(t.head_dim * b.padded_length);
  b.rows = take(t.length * b.padded_dim);
  b.scores = take(query_tile * b.padded_length);
  b.gradients = take(query_tile * b.padded_length);
  b.tile_rows_q = take(query_tile * b.padded_dim);
  b.tile_rows_out = take(query_tile * b.padded_dim);
  return b;
}

/// scores[row][0..position of row] become probabilities, the rest of the visible columns 0.
/// Returns the log-sum-exp of the scaled scores.
inline float softmax_row(float* scores, std::size_t visible, std::size_t columns, float scale) {
  const float best = row_max(visible, scores) * scale;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < visible; ++i) {
    scores[i] = exp_fast(scores[i] * scale - best);
    sum += scores[i];
  }
  const float factor = 1.0F / sum;
#pragma omp simd
  for (std::size_t i = 0; i < visible; ++i)
    scores[i] *= factor;
  for (std::size_t i = visible; i < columns; ++i)
    scores[i] = 0;
  return best + __builtin_logf(sum);
}

inline void attention(const attention_task& t) {
  const attention_buffers b = cut_scratch(t);
  pack(t.k, t.head_dim, t.length, 1, t.k_stride, b.key_columns);
  pack(t.v, t.length, t.head_dim, t.v_stride, 1, b.rows);
  for (std::size_t head = 0; head < t.num_query_heads; ++head) {
    const std::size_t offset = head * t.head_dim;
    for (std::size_t begin = 0; begin < t.length; begin += query_tile) {
      const std::size_t rows = t.length - begin < query_tile ? t.length - begin : query_tile;
      const std::size_t seen = begin + rows;
      multiply({rows, t.head_dim, seen, t.q + begin * t.q_stride + offset, t.q_stride, 1,
                b.key_columns, t.head_dim, b.scores, b.padded_length},
               into::overwrite);
      for (std::size_t row = 0; row < rows; ++row)
        t.lse[(begin + row) * t.lse_stride + head] =
            softmax_row(b.scores + row * b.padded_length, begin + row + 1, seen, t.scale);
      multiply({rows, seen, t.head_dim, b.scores, b.padded_length, 1, b.rows, t.length,
                t.out + begin * t.out_stride + offset, t.out_stride},
               into::overwrite);
    }
  }
}

/// Recomputed probabilities into `scores`, d(scaled score) into `gradients`.
inline void score_gradients(const attention_task& t, const attention_buffers& b, std::size_t begin,
                            std::size_t rows, std::size_t head) {
  const std::size_t seen = begin + rows;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t position = begin + row;
    const std::size_t at = position * t.out_stride + head * t.head_dim;
    const float lse = t.lse[position * t.lse_stride + head];
    const float shared = dot(t.head_dim, t.out_gradient + at, t.out + at);
    float* const p = b.scores + row * b.padded_length;
    float* const g = b.gradients + row * b.padded_length;
#pragma omp simd
    for (std::size_t i = 0; i <= position; ++i) {
      p[i] = exp_fast(p[i] * t.scale - lse);
      g[i] = p[i] * (g[i] - shared) * t.scale;
    }
    for (std::size_t i = position + 1; i < seen; ++i) {
      p[i] = 0;
      g[i] = 0;
    }
  }
}

inline void backward_tile(const attention_task& t, const attention_buffers& b, std::size_t begin,
                          std::size_t head) {
  const std::size_t rows = t.length - begin < query_tile ? t.length - begin : query_tile;
  const std::size_t seen = begin + rows;
  const std::size_t offset = head * t.head_dim;
  const float* const q = t.q + begin * t.q_stride + offset;
  const float* const up = t.out_gradient + begin * t.out_stride + offset;
  multiply({rows, t.head_dim, seen, q, t.q_stride, 1, b.key_columns, t.head_dim, b.scores,
            b.padded_length},
           into::overwrite);
  multiply({rows, t.head_dim, seen, up, t.out_stride, 1, b.value_columns, t.head_dim, b.gradients,
            b.padded_length},
           into::overwrite);
  score_gradients(t, b, begin, rows, head);
  multiply({rows, seen, t.head_dim, b.gradients, b.padded_length, 1, b.rows, t.length,
            t.q_gradient + begin * t.gradient_stride + offset, t.gradient_stride},
           into::overwrite);
  pack(up, rows, t.head_dim, t.out_stride, 1, b.tile_rows_out);
  multiply({seen, rows, t.head_dim, b.scores, 1, b.padded_length, b.tile_rows_out, rows,
            t.v_gradient, t.gradient_stride},
           into::add);
  pack(q, rows, t.head_dim, t.q_stride, 1, b.tile_rows_q);
  multiply({seen, rows, t.head_dim, b.gradients, 1, b.padded_length, b.tile_rows_q, rows,
            t.k_gradient, t.gradient_stride},
           into::add);
}

inline void attention_backward(const attention_task& t) {
  const attention_buffers b = cut_scratch(t);
  pack(t.k, t.head_dim, t.length, 1, t.k_stride, b.key_columns);
  pack(t.v, t.head_dim, t.length, 1, t.v_stride, b.value_columns);
  pack(t.k, t.length, t.head_dim, t.k_stride, 1, b.rows);
  for (std::size_t row = 0; row < t.length; ++row)
    for (std::size_t i = 0; i < t.head_dim; ++i) {
      t.k_gradient[row * t.gradient_stride + i] = 0;
      t.v_gradient[row * t.gradient_stride + i] = 0;
    }
  for (std::size_t head = 0; head < t.num_query_heads; ++head)
    for (std::size_t begin = 0; begin < t.length; begin += query_tile)
      backward_tile(t, b, begin, head);
}

/// Query heads that are read side by side where registers suffice: one alone would wait for its own
/// additions, and both read the same cache.
constexpr std::size_t heads_at_once = TROUPE_LANES == 16 ? 2 : 1;

/// Scores of query rows, head_dim apart, with a page of keys; those of a row are `stride` apart.
template <std::size_t Heads>
inline void score_page(std::size_t head_dim, const float* q, const float* keys, float* scores,
                       std::size_t stride) {
  constexpr std::size_t vectors = cache_page / lanes;
  constexpr std::size_t per_block = cache_block / lanes;
  vector_f sums[Heads][vectors] = {};
  for (std::size_t i = 0; i < head_dim; ++i)
    for (std::size_t v = 0; v < vectors; ++v) {
      const std::size_t row = v / per_block * head_dim + i;
      const vector_f column = load(keys + row * cache_block + v % per_block * lanes);
      for (std::size_t head = 0; head < Heads; ++head)
        sums[head][v] += q[head * head_dim + i] * column;
    }
  for (std::size_t head = 0; head < Heads; ++head)
    for (std::size_t v = 0; v < vectors; ++v)
      store(scores + head * stride + v * lanes) = sums[head][v];
}

struct weighted_values {
  std::size_t head_dim;
  std::size_t count;           ///< positions
  const float* probabilities;  ///< of each head, `stride` apart
  std::size_t stride;
  const float* values;  ///< [position][head_dim]
  float* out;           ///< of each head, head_dim apart
};

/// out += probabilities * values for elements from `at` on, positions in order.
template <std::size_t Heads, std::size_t Vectors>
[[gnu::always_inline]] inline void add_values_at(const weighted_values& w, std::size_t at) {
  vector_f sums[Heads][Vectors];
  for (std::size_t head = 0; head < Heads; ++head)
    for (std::size_t v = 0; v < Vectors; ++v)
      sums[head][v] = load(w.out + head * w.head_dim + at + v * lanes);
  for (std::size_t position = 0; position < w.count; ++position)
    for (std::size_t v = 0; v < Vectors; ++v) {
      const vector_f value = load(w.values + position * w.head_dim + at + v * lanes);
      for (std::size_t head = 0; head < Heads; ++head)
        sums[head][v] += w.probabilities[head * w.stride + position] * value;
    }
  for (std::size_t head = 0; head < Heads; ++head)
    for (std::size_t v = 0; v < Vectors; ++v)
      store(w.out + head * w.head_dim + at + v * lanes) = sums[head][v];
}

template <std::size_t Heads>
inline void add_values(const weighted_values& w) {
  std::size_t at = 0;
  for (; at + 4 * lanes <= w.head_dim; at += 4 * lanes)
    add_values_at<Heads, 4>(w, at);
  for (; at + lanes <= w.head_dim; at += lanes)
    add_values_at<Heads, 1>(w, at);
  for (; at < w.head_dim; ++at)
    for (std::size_t head = 0; head < Heads; ++head)
      for (std::size_t position = 0; position < w.count; ++position)
        w.out[head * w.head_dim + at] +=
            w.probabilities[head * w.stride + position] * w.values[position * w.head_dim + at];
}

template <std::size_t Heads>
inline void attend_heads(const cached_attention_task& t, std::size_t first_head) {
  const float* const q = t.q + first_head * t.head_dim;
  float* const out = t.out + first_head * t.head_dim;
  const std::size_t stride = round_up(t.num_positions, cache_page);
  for (std::size_t first = 0; first < t.num_positions; first += cache_page)
    score_page<Heads>(t.head_dim, q, t.pages[first / cache_page] + t.offset, t.scratch + first,
                      stride);
  for (std::size_t head = 0; head < Heads; ++head)
    softmax_row(t.scratch + head * stride, t.num_positions, t.num_positions, t.scale);
  for (std::size_t i = 0; i < Heads * t.head_dim; ++i)
    out[i] = 0;
  for (std::size_t first = 0; first < t.num_positions; first += cache_page) {
    const std::size_t rest = t.num_positions - first;
    add_values<Heads>({t.head_dim, rest < cache_page ? rest : cache_page, t.scratch + first, stride,
                       t.pages[first / cache_page] + t.offset + cache_page * t.head_dim, out});
  }
}

inline void cached_attention(const cached_attention_task& t) {
  std::size_t head = 0;
  for (; head + heads_at_once <= t.num_query_heads; head += heads_at_once)
    attend_heads<heads_at_once>(t, head);
  for (; head < t.num_query_heads; ++head)
    attend_heads<1>(t, head);
}
