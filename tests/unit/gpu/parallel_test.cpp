#include "gpu/parallel.hpp"

#include <atomic>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

using troupe::gpu::for_ranges;
using troupe::gpu::pool_scope;
using troupe::gpu::thread_pool;

/// How often each of `count` indices is visited.
std::vector<int> visits(std::size_t count, std::size_t grain) {
  std::vector<std::atomic<int>> counters(count);
  for_ranges(count, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      ++counters[i];
  });
  std::vector<int> out;
  for (const auto& counter : counters)
    out.push_back(counter.load());
  return out;
}

BOOST_AUTO_TEST_CASE(every_index_is_visited_once) {
  for (const std::size_t num_threads : {1U, 2U, 4U}) {
    thread_pool pool(num_threads);
    const pool_scope scope(&pool);
    for (const std::size_t count : {0U, 1U, 2U, 7U, 100U, 1001U})
      for (const std::size_t grain : {1U, 3U, 64U, 5000U})
        BOOST_TEST((visits(count, grain) == std::vector<int>(count, 1)));
  }
  BOOST_TEST((visits(10, 2) == std::vector<int>(10, 1)));
}

BOOST_AUTO_TEST_CASE(many_loops_follow_each_other) {
  thread_pool pool(3);
  const pool_scope scope(&pool);
  std::size_t wrong = 0;
  for (int repeat = 0; repeat < 500; ++repeat)
    wrong += visits(24, 1) == std::vector<int>(24, 1) ? 0U : 1U;
  BOOST_TEST(wrong == 0U);
}

BOOST_AUTO_TEST_CASE(engines_may_share_a_pool) {
  thread_pool pool(2);
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> engines;
    for (int engine = 0; engine < 3; ++engine)
      engines.emplace_back([&] {
        const pool_scope scope(&pool);
        for (int repeat = 0; repeat < 100; ++repeat)
          if (visits(50, 1) != std::vector<int>(50, 1)) ++wrong;
      });
  }
  BOOST_TEST(wrong.load() == 0);
}

/// A quarter of the smallest normal number; the compiler does not know it.
bool is_denormal_kept() {
  const volatile float tiny = std::numeric_limits<float>::min();
  const volatile float quarter = tiny * 0.25F;
  return quarter > 0;
}

BOOST_AUTO_TEST_CASE(denormal_numbers_are_zero_in_a_scope_and_on_its_threads) {
#if defined(__x86_64__)
  BOOST_TEST(is_denormal_kept());
  thread_pool pool(3);
  {
    const pool_scope scope(&pool);
    BOOST_TEST(!is_denormal_kept());
    std::atomic<int> kept{0};
    for_ranges(64, 1, [&](std::size_t, std::size_t) { kept += is_denormal_kept() ? 1 : 0; });
    BOOST_TEST(kept.load() == 0);
    const pool_scope alone(nullptr);
    BOOST_TEST(!is_denormal_kept());
  }
  BOOST_TEST(is_denormal_kept());
#endif
}

BOOST_AUTO_TEST_CASE(loops_may_nest) {
  thread_pool pool(2);
  const pool_scope scope(&pool);
  std::atomic<int> sum{0};
  for_ranges(8, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for_ranges(5, 1, [&](std::size_t first, std::size_t last) {
        sum += static_cast<int>(last - first);
      });
  });
  BOOST_TEST(sum.load() == 40);
}

BOOST_AUTO_TEST_CASE(exceptions_reach_the_caller) {
  thread_pool pool(3);
  const pool_scope scope(&pool);
  for (std::size_t bad = 0; bad < 20; ++bad) {
    const auto loop = [&] {
      for_ranges(20, 1, [&](std::size_t begin, std::size_t end) {
        if (begin <= bad && bad < end) throw std::runtime_error("piece");
      });
    };
    BOOST_CHECK_THROW(loop(), std::runtime_error);
  }
  BOOST_TEST((visits(20, 1) == std::vector<int>(20, 1)));
}

}  // namespace
