// Attention of single rows against pages of keys and values. Included by cpu_tables.hpp only.
//
// Pages that several queries have in common are read once for all of them (Juravsky et al. 2024,
// Hydragen); a query's sums have the same order as if it were alone.

/// Queries that are read side by side where registers suffice: one alone would wait for its own
/// additions, and for the second cache.
constexpr std::size_t queries_at_once = TROUPE_LANES == 16 ? 4 : 1;

/// Neighbouring queries, and the pages of them that are to be read.
struct query_run {
  const cached_attention_task& task;
  std::size_t first, count;
  std::size_t first_page, end_page;

  [[gnu::always_inline]] const cached_query& query(std::size_t i) const {
    return task.queries[first + i];
  }
  [[gnu::always_inline]] float* scores(std::size_t i) const {
    return task.scratch + (first + i) * task.scratch_stride;
  }
  [[gnu::always_inline]] const float* page(std::size_t index) const {
    return task.queries[first].pages[index] + task.offset;
  }
};

/// Scores of `Count` queries from `at` on with one page of keys.
template <std::size_t Count>
inline void score_page(const query_run& run, std::size_t at, std::size_t page) {
  constexpr std::size_t vectors = cache_page / lanes;
  constexpr std::size_t per_block = cache_block / lanes;
  const std::size_t head_dim = run.task.head_dim;
  const float* const keys = run.page(page);
  const float* q[Count];
  unrolled<Count>([&](auto i) { q[i] = run.query(at + i).q; });
  vector_f sums[Count][vectors] = {};
  for (std::size_t i = 0; i < head_dim; ++i)
    unrolled<vectors>([&](auto v) {
      const std::size_t row = v / per_block * head_dim + i;
      const vector_f column = load(keys + row * cache_block + v % per_block * lanes);
      unrolled<Count>([&](auto each) { sums[each][v] += q[each][i] * column; });
    });
  unrolled<Count>([&](auto each) {
    float* const to = run.scores(at + each) + page * cache_page;
    unrolled<vectors>([&](auto v) { store(to + v * lanes) = sums[each][v]; });
  });
}

/// out += probabilities * values of one page for `Vectors` vectors of elements from `element` on,
/// positions in order.
template <std::size_t Count, std::size_t Vectors>
[[gnu::always_inline]] inline void add_values_at(const query_run& run, std::size_t at,
                                                 std::size_t page, std::size_t positions,
                                                 std::size_t element) {
  const std::size_t head_dim = run.task.head_dim;
  const float* values = run.page(page) + cache_page * head_dim + element;
  const float* p[Count];
  float* out[Count];
  vector_f sums[Count][Vectors];
  unrolled<Count>([&](auto each) {
    p[each] = run.scores(at + each) + page * cache_page;
    out[each] = run.query(at + each).out + element;
    unrolled<Vectors>([&](auto v) { sums[each][v] = load(out[each] + v * lanes); });
  });
  for (std::size_t i = 0; i < positions; ++i, values += head_dim)
    unrolled<Vectors>([&](auto v) {
      const vector_f value = load(values + v * lanes);
      unrolled<Count>([&](auto each) { sums[each][v] += p[each][i] * value; });
    });
  unrolled<Count>([&](auto each) {
    unrolled<Vectors>([&](auto v) { store(out[each] + v * lanes) = sums[each][v]; });
  });
}

template <std::size_t Count>
inline void add_page(const query_run& run, std::size_t at, std::size_t page,
                     std::size_t positions) {
  const std::size_t head_dim = run.task.head_dim;
  std::size_t element = 0;
  for (; element + 4 * lanes <= head_dim; element += 4 * lanes)
    add_values_at<Count, 4>(run, at, page, positions, element);
  for (; element + lanes <= head_dim; element += lanes)
    add_values_at<Count, 1>(run, at, page, positions, element);
  const float* const values = run.page(page) + cache_page * head_dim;
  for (; element < head_dim; ++element)
    for (std::size_t each = 0; each < Count; ++each)
      for (std::size_t i = 0; i < positions; ++i)
        run.query(at + each).out[element] +=
            run.scores(at + each)[page * cache_page + i] * values[i * head_dim + element];
}

/// body(number of queries, a constant; the first of them) for all queries of a run.
template <std::size_t Count = queries_at_once, class Body>
[[gnu::always_inline]] inline void by_groups(const query_run& run, const Body& body,
                                             std::size_t at = 0) {
  for (; at + Count <= run.count; at += Count)
    body(std::integral_constant<std::size_t, Count>(), at);
  if constexpr (Count > 1) by_groups<Count / 2>(run, body, at);
}

inline void score_pages(const query_run& run) {
  for (std::size_t page = run.first_page; page < run.end_page; ++page)
    by_groups(run, [&](auto count, std::size_t at) { score_page<count>(run, at, page); });
}

/// Of the last page, the positions that a run's queries see.
inline void add_pages(const query_run& run) {
  const std::size_t visible = run.query(0).num_positions;
  for (std::size_t page = run.first_page; page < run.end_page; ++page) {
    const std::size_t rest = visible - page * cache_page;
    const std::size_t positions = rest < cache_page ? rest : cache_page;
    by_groups(run, [&](auto count, std::size_t at) { add_page<count>(run, at, page, positions); });
  }
}

/// Calls body for the pages that all share, then for the rest of the queries that have the same.
template <class Body>
inline void for_each_run(const cached_attention_task& t, const Body& body) {
  body(query_run{t, 0, t.num_queries, 0, t.num_shared_pages});
  for (std::size_t first = 0; first < t.num_queries;) {
    const cached_query& query = t.queries[first];
    std::size_t end = first + 1;
    while (end < t.num_queries && t.queries[end].pages == query.pages &&
           t.queries[end].num_positions == query.num_positions)
      ++end;
    const std::size_t num_pages = (query.num_positions + cache_page - 1) / cache_page;
    body(query_run{t, first, end - first, t.num_shared_pages, num_pages});
    first = end;
  }
}

inline void cached_attention(const cached_attention_task& t) {
  for_each_run(t, [](const query_run& run) { score_pages(run); });
  for (std::size_t i = 0; i < t.num_queries; ++i) {
    const cached_query& query = t.queries[i];
    softmax_row(t.scratch + i * t.scratch_stride, query.num_positions, query.num_positions,
                t.scale);
    for (std::size_t element = 0; element < t.head_dim; ++element)
      query.out[element] = 0;
  }
  for_each_run(t, [](const query_run& run) { add_pages(run); });
}
