// Causal attention over one sequence and one key head. Included by cpu_tables.hpp only.
//
// Scores of a tile of query rows exist at a time; the backward pass makes them again from the kept
// log-sum-exp (Dao et al. 2022). Keys and values are packed once and serve every query head that
// shares them.

constexpr std::size_t query_tile = attention_query_tile;

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
  /// [length][head_dim]: in the caller's memory rows may be a multiple of a page apart, and all of
  /// them would take turns in a few lines of the caches.
  float* key_gradients;
  float* value_gradients;
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
  b.key_gradients = take(t.length * t.head_dim);
  b.value_gradients = take(t.length * t.head_dim);
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
            b.value_gradients, t.head_dim},
           into::add);
  pack(q, rows, t.head_dim, t.q_stride, 1, b.tile_rows_q);
  multiply({seen, rows, t.head_dim, b.gradients, 1, b.padded_length, b.tile_rows_q, rows,
            b.key_gradients, t.head_dim},
           into::add);
}

inline void attention_backward(const attention_task& t) {
  const attention_buffers b = cut_scratch(t);
  pack(t.k, t.head_dim, t.length, 1, t.k_stride, b.key_columns);
  pack(t.v, t.head_dim, t.length, 1, t.v_stride, b.value_columns);
  pack(t.k, t.length, t.head_dim, t.k_stride, 1, b.rows);
  for (std::size_t i = 0; i < t.length * t.head_dim; ++i) {
    b.key_gradients[i] = 0;
    b.value_gradients[i] = 0;
  }
  for (std::size_t head = 0; head < t.num_query_heads; ++head)
    for (std::size_t begin = 0; begin < t.length; begin += query_tile)
      backward_tile(t, b, begin, head);
  for (std::size_t row = 0; row < t.length; ++row)
    for (std::size_t i = 0; i < t.head_dim; ++i) {
      t.k_gradient[row * t.gradient_stride + i] = b.key_gradients[row * t.head_dim + i];
      t.v_gradient[row * t.gradient_stride + i] = b.value_gradients[row * t.head_dim + i];
    }
}
