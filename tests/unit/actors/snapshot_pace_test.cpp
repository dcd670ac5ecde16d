// When snapshots are due.

#include "actors/logic/snapshot_pace.hpp"

#include <boost/test/unit_test.hpp>

namespace troupe::logic {

BOOST_AUTO_TEST_SUITE(snapshot_pace_test)

BOOST_AUTO_TEST_CASE(a_fixed_pace_counts_steps_only) {
  const snapshot_pace pace(4, 100);
  BOOST_TEST(!pace.is_due(3, 1e6));
  BOOST_TEST(pace.is_due(4, 100));
  BOOST_TEST(pace.is_due(8, 100));
}

BOOST_AUTO_TEST_CASE(dear_snapshots_are_rarer) {
  snapshot_pace cheap(0, 0);
  snapshot_pace dear(0, 0);
  for (int i = 0; i < 20; ++i) {
    cheap.cost(0.01);
    dear.cost(1.0);
  }
  BOOST_TEST(dear.interval_s() > 5 * cheap.interval_s());
}

BOOST_AUTO_TEST_CASE(losses_make_them_more_frequent_and_peace_rarer) {
  snapshot_pace pace(0, 0);
  const double calm = pace.interval_s();
  double now = 0;
  for (int i = 0; i < 20; ++i)
    pace.lost(now += 5);
  const double stormy = pace.interval_s();
  BOOST_TEST(stormy < calm / 4);
  pace.taken(1, now);
  pace.cost(0.02);
  BOOST_TEST(!pace.is_due(2, now + stormy / 2));
  BOOST_TEST(pace.is_due(2, now + stormy * 2));
  // After a long peace the next one may wait longer than in the storm.
  pace.taken(2, now + 3600);
  pace.cost(0.02);
  BOOST_TEST(!pace.is_due(3, now + 3600 + stormy * 2));
}

BOOST_AUTO_TEST_CASE(a_recovery_never_repeats_more_than_a_thousand_steps) {
  const snapshot_pace pace(0, 0);
  BOOST_TEST(!pace.is_due(999, 0.001));
  BOOST_TEST(pace.is_due(1000, 0.001));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
