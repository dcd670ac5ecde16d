// PLAN-1 and PLAN-2 over many batches and world sizes.

#include "actors/logic/batch_planner.hpp"

#include <algorithm>
#include <numeric>

#include <boost/test/unit_test.hpp>

namespace troupe::logic {

BOOST_AUTO_TEST_SUITE(batch_planner_test)

BOOST_AUTO_TEST_CASE(every_datum_is_on_one_rank_and_ranks_are_balanced) {
  std::uint64_t state = 1;
  for (std::size_t size = 0; size < 40; ++size) {
    for (std::uint32_t world = 1; world <= 5; ++world) {
      std::vector<std::size_t> tokens;
      for (std::size_t i = 0; i < size; ++i) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        tokens.push_back(1 + (state >> 33) % 500);
      }
      const batch_plan plan = plan_batch(tokens, world);
      BOOST_REQUIRE(plan.size() == world);
      std::vector<int> seen(size, 0);
      const auto total = std::accumulate(tokens.begin(), tokens.end(), std::size_t{0});
      const auto longest = size == 0 ? 0 : *std::max_element(tokens.begin(), tokens.end());
      for (const auto& positions : plan) {
        BOOST_TEST(std::is_sorted(positions.begin(), positions.end()));
        std::size_t load = 0;
        for (const std::size_t position : positions) {
          ++seen[position];
          load += tokens[position];
        }
        BOOST_TEST(load <= total / world + longest);
      }
      BOOST_TEST(std::count(seen.begin(), seen.end(), 1) == static_cast<std::ptrdiff_t>(size));
      BOOST_TEST((plan_batch(tokens, world) == plan));
    }
  }
}

BOOST_AUTO_TEST_CASE(parts_keep_the_order_of_the_batch) {
  const std::vector<int> items{10, 20, 30};
  const std::vector<int> expected{10, 30};
  BOOST_TEST(take_part(items, {0, 2}) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
