// Samples of several weights on one deployment: each sees one version, nobody starves.

#include <set>

#include <boost/test/unit_test.hpp>

#include "apps/gateway/sample_rotation.hpp"

using troupe::gateway::sample_rotation;

namespace {

using jobs = std::vector<std::uint64_t>;

}  // namespace

BOOST_AUTO_TEST_CASE(the_first_job_switches_and_then_all_of_its_weights_run) {
  sample_rotation turn;
  turn.add("a", 1);
  BOOST_TEST(turn.next().switch_to.value() == "a");
  turn.add("b", 2);
  turn.add("a", 3);
  BOOST_TEST(turn.next().start.empty());
  turn.switched("a");
  BOOST_TEST((turn.next().start == jobs{1, 3}));
  BOOST_TEST(!turn.next().switch_to.has_value());
}

BOOST_AUTO_TEST_CASE(a_waiting_job_stops_later_ones_of_the_live_weights) {
  sample_rotation turn;
  turn.add("a", 1);
  BOOST_REQUIRE(turn.next().switch_to.has_value());
  turn.switched("a");
  BOOST_TEST((turn.next().start == jobs{1}));
  turn.add("b", 2);
  turn.add("a", 3);
  BOOST_TEST(turn.next().start.empty());
  turn.ended();
  BOOST_TEST(turn.next().switch_to.value() == "b");
  turn.switched("b");
  BOOST_TEST((turn.next().start == jobs{2}));
  turn.ended();
  BOOST_TEST(turn.next().switch_to.value() == "a");
}

BOOST_AUTO_TEST_CASE(a_failed_switch_fails_its_jobs_only) {
  sample_rotation turn;
  turn.add("a", 1);
  turn.add("b", 2);
  turn.add("a", 3);
  BOOST_TEST(turn.next().switch_to.value() == "a");
  BOOST_TEST((turn.switch_failed("a") == jobs{1, 3}));
  BOOST_TEST(turn.next().switch_to.value() == "b");
}

BOOST_AUTO_TEST_CASE(a_withdrawn_job_never_runs_and_stops_nobody) {
  sample_rotation turn;
  turn.add("a", 1);
  BOOST_REQUIRE(turn.next().switch_to.has_value());
  turn.add("b", 2);
  turn.add("a", 3);
  turn.add("a", 4);
  BOOST_TEST(turn.withdraw(3));
  BOOST_TEST(!turn.withdraw(3));
  turn.switched("a");
  BOOST_TEST((turn.next().start == jobs{1, 4}));
  BOOST_TEST(!turn.withdraw(4));
  turn.add("a", 5);
  BOOST_TEST(turn.next().start.empty());
  BOOST_TEST(turn.withdraw(2));
  BOOST_TEST((turn.next().start == jobs{5}));
}

BOOST_AUTO_TEST_CASE(a_switch_that_nobody_waits_for_any_more_does_no_harm) {
  sample_rotation turn;
  turn.add("a", 1);
  BOOST_REQUIRE(turn.next().switch_to.has_value());
  turn.add("b", 2);
  BOOST_TEST(turn.withdraw(1));
  turn.switched("a");
  BOOST_TEST(turn.next().switch_to.value() == "b");
  turn.switched("b");
  BOOST_TEST((turn.next().start == jobs{2}));
}

BOOST_AUTO_TEST_CASE(any_arrival_order_runs_every_job_once_under_its_own_weights) {
  std::uint64_t state = 7;
  const auto random = [&state](std::uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33U) % below;
  };
  sample_rotation turn;
  std::vector<std::string> weights_of(400);
  std::set<std::uint64_t> running;
  std::vector<int> runs(weights_of.size(), 0);
  std::string live;
  bool is_switching = false;
  std::uint64_t added = 0;
  while (added < weights_of.size() || turn.num_waiting() + turn.num_running() > 0) {
    const auto action = random(3);
    if (action == 0 && added < weights_of.size()) {
      weights_of[added] = std::string(1, static_cast<char>('a' + random(3)));
      turn.add(weights_of[added], added);
      ++added;
    } else if (action == 1 && !running.empty()) {
      running.erase(running.begin());
      turn.ended();
    } else if (is_switching) {
      is_switching = false;
      turn.switched(live);
    }
    const auto decision = turn.next();
    for (const auto job : decision.start) {
      BOOST_REQUIRE(!is_switching);
      BOOST_REQUIRE(weights_of[job] == live);
      running.insert(job);
      ++runs[job];
    }
    if (decision.switch_to) {
      BOOST_REQUIRE(running.empty());
      is_switching = true;
      live = *decision.switch_to;
    }
  }
  BOOST_TEST((runs == std::vector<int>(weights_of.size(), 1)));
}
