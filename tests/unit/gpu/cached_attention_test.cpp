// Rows against their caches: how they are grouped, and that groups change no bit.

#include "gpu/torch/cached_attention.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/parallel.hpp"

namespace {

using namespace troupe;
using namespace troupe::gpu;
using kernels::cache_block;
using kernels::cache_page;

model_config small_model(std::uint32_t head_dim) {
  model_config m;
  m.num_layers = 2;
  m.num_heads = 6;
  m.num_kv_heads = 2;
  m.head_dim = head_dim;
  return m;
}

/// Sequences with random keys and values.
class caches {
 public:
  explicit caches(const model_config& model) : model_(model), pool_(model) {}

  page_ref page() {
    page_ref taken = pool_.take();
    std::normal_distribution<float> normal;
    std::generate_n(taken.get(), pool_.page_bytes() / sizeof(float),
                    [&] { return normal(random_); });
    return taken;
  }

  sequence_cache sequence(const std::vector<page_ref>& shared, std::size_t own) {
    sequence_cache cache;
    for (const page_ref& each : shared)
      cache.append(each);
    for (std::size_t i = 0; i < own; ++i)
      cache.append(page());
    return cache;
  }

  std::vector<float> queries(std::size_t rows) {
    std::vector<float> q(rows * model_.num_heads * model_.head_dim);
    std::normal_distribution<float> normal;
    std::ranges::generate(q, [&] { return normal(random_); });
    return q;
  }

 private:
  model_config model_;
  page_pool pool_;
  std::mt19937 random_{5};
};

std::vector<std::size_t> sizes(const std::vector<row_group>& groups) {
  std::vector<std::size_t> out;
  for (const row_group& group : groups)
    out.push_back(group.rows.size());
  return out;
}

BOOST_AUTO_TEST_CASE(rows_of_a_prompt_and_its_samples_are_grouped) {
  caches made(small_model(16));
  const std::vector<page_ref> prompt{made.page(), made.page()};
  std::vector<sequence_cache> samples;
  for (int i = 0; i < 10; ++i)
    samples.push_back(made.sequence(prompt, 1));
  sequence_cache other = made.sequence({}, 3);
  std::vector<decoder_row> rows;
  for (sequence_cache& sample : samples)
    rows.push_back({0, 2 * cache_page + 3, &sample, nullptr});
  rows.push_back({0, 150, &other, nullptr});
  const auto groups = group_by_pages(rows);
  BOOST_TEST(sizes(groups) == (std::vector<std::size_t>{8, 2, 1}));
  BOOST_TEST(groups[0].num_shared_pages == 2U);
  BOOST_TEST(groups[1].first == 8U);
  BOOST_TEST(groups[2].num_shared_pages == 0U);
}

BOOST_AUTO_TEST_CASE(a_page_that_a_row_sees_a_part_of_is_not_shared) {
  caches made(small_model(16));
  sequence_cache prompt = made.sequence({}, 3);
  std::vector<decoder_row> rows;
  for (std::size_t position = cache_page - 2; position < cache_page + 2; ++position)
    rows.push_back({0, position, &prompt, nullptr});
  // The first row sees one position less than the page has; the others all of it.
  const auto groups = group_by_pages(rows);
  BOOST_TEST(sizes(groups) == (std::vector<std::size_t>{1, 3}));
  BOOST_TEST(groups[1].num_shared_pages == 1U);
}

BOOST_AUTO_TEST_CASE(a_row_that_shares_less_begins_a_group) {
  caches made(small_model(16));
  const page_ref first = made.page();
  const page_ref second = made.page();
  std::vector<sequence_cache> each;
  each.push_back(made.sequence({first, second}, 1));
  each.push_back(made.sequence({first, second}, 1));
  each.push_back(made.sequence({first}, 2));
  std::vector<decoder_row> rows;
  for (sequence_cache& cache : each)
    rows.push_back({0, 2 * cache_page, &cache, nullptr});
  BOOST_TEST(sizes(group_by_pages(rows)) == (std::vector<std::size_t>{2, 1}));
  BOOST_TEST(group_by_pages({}).empty());
}

/// Softmax attention in double.
std::vector<double> plain(const model_config& m, std::uint32_t block, const decoder_row& row,
                          const float* q) {
  std::vector<double> out(m.num_heads * m.head_dim);
  for (std::size_t h = 0; h < m.num_heads; ++h) {
    const std::size_t offset = offset_in_page(m, block, h / (m.num_heads / m.num_kv_heads));
    const auto dim = std::size_t{m.head_dim};
    std::vector<double> weights;
    for (std::size_t p = 0; p <= row.position; ++p) {
      const float* const page = row.cache->address(p) + offset;
      const std::size_t place = p % cache_page;
      double score = 0;
      for (std::size_t e = 0; e < dim; ++e)
        score += static_cast<double>(q[h * dim + e]) *
                 static_cast<double>(page[place / cache_block * cache_block * dim +
                                          e * cache_block + place % cache_block]);
      weights.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
    }
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (std::size_t p = 0; p < weights.size(); ++p)
      for (std::size_t e = 0; e < dim; ++e)
        out[h * dim + e] += weights[p] / total *
                            static_cast<double>(row.cache->address(
                                p)[offset + (cache_page + p % cache_page) * dim + e]);
  }
  return out;
}

BOOST_AUTO_TEST_CASE(groups_give_the_bits_of_single_rows_and_the_right_values) {
  for (const std::uint32_t dim : {64U, 24U}) {
    const model_config model = small_model(dim);
    caches made(model);
    const std::vector<page_ref> prompt{made.page(), made.page()};
    std::vector<sequence_cache> samples;
    for (int i = 0; i < 5; ++i)
      samples.push_back(made.sequence(prompt, 2));
    std::vector<decoder_row> rows;
    for (std::size_t i = 0; i < samples.size(); ++i)
      rows.push_back({0, 2 * cache_page + 30 * i, &samples[i], nullptr});
    const auto q = made.queries(rows.size());
    const auto groups = group_by_pages(rows);
    BOOST_TEST_REQUIRE(groups.size() == 1U);
    thread_pool pool(2);
    const pool_scope scope(&pool);
    std::vector<float> together(q.size());
    cached_attention(model, 1, groups, q.data(), together.data());
    const std::size_t width = q.size() / rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::vector<row_group> alone{{std::span(rows).subspan(i, 1), 0, 0}};
      std::vector<float> single(width);
      cached_attention(model, 1, alone, q.data() + i * width, single.data());
      BOOST_TEST(std::ranges::equal(single, std::span(together).subspan(i * width, width)));
      const auto expected = plain(model, 1, rows[i], q.data() + i * width);
      for (std::size_t e = 0; e < width; ++e)
        BOOST_TEST_REQUIRE(std::abs(static_cast<double>(single[e]) - expected[e]) < 1e-5);
    }
  }
}

}  // namespace
