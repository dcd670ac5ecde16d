// Which runs nobody uses any more.

#include "actors/logic/run_presence.hpp"

#include <boost/test/unit_test.hpp>

namespace troupe::logic {

namespace {

const run_id run{"r"};
constexpr std::uint64_t after_ms = 1000;

}  // namespace

BOOST_AUTO_TEST_SUITE(run_presence_test)

BOOST_AUTO_TEST_CASE(a_run_whose_client_is_there_is_never_idle) {
  run_presence presence;
  presence.attended(run, "a");
  BOOST_TEST(presence.idle(1'000'000'000, after_ms).empty());
}

BOOST_AUTO_TEST_CASE(it_is_idle_some_time_after_its_client_left) {
  run_presence presence;
  presence.attended(run, "a");
  presence.left("a", 500);
  BOOST_TEST(presence.idle(1499, after_ms).empty());
  BOOST_TEST((presence.idle(1500, after_ms) == std::vector{run}));
  presence.attended(run, "b");
  BOOST_TEST(presence.idle(1'000'000, after_ms).empty());
}

BOOST_AUTO_TEST_CASE(only_the_last_client_counts) {
  run_presence presence;
  presence.attended(run, "a");
  presence.attended(run, "b");
  presence.left("a", 0);
  BOOST_TEST(presence.idle(1'000'000, after_ms).empty());
  presence.left("b", 10);
  presence.left("b", 5000);
  BOOST_TEST(presence.idle(1010, after_ms).size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_client_leaves_all_its_runs_and_no_others) {
  run_presence presence;
  presence.attended(run, "a");
  presence.attended(run_id{"s"}, "a");
  presence.attended(run_id{"t"}, "b");
  presence.left("a", 0);
  BOOST_TEST(presence.idle(1000, after_ms).size() == 2U);
}

BOOST_AUTO_TEST_CASE(ops_put_it_off) {
  run_presence presence;
  presence.unattended(run, 0);
  presence.worked(run, 900);
  BOOST_TEST(presence.idle(1800, after_ms).empty());
  BOOST_TEST(presence.idle(1900, after_ms).size() == 1U);
  presence.attended(run, "a");
  presence.worked(run, 2000);
  BOOST_TEST(presence.idle(1'000'000, after_ms).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
