// Fairness between tenants whose runs share trainer nodes, in virtual time: cores are divided
// evenly between the ops that work, as the machine does.

#include "actors/logic/work_turns.hpp"

#include <algorithm>
#include <optional>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using logic::work_turns;

namespace {

const work_turns::place here{node_id{"a"}, "machine"};
const work_turns::place beside{node_id{"b"}, "machine"};
const work_turns::place elsewhere{node_id{"c"}, "another machine"};
const std::vector<work_turns::place> one_node{here};
const std::vector<work_turns::place> two_nodes{here, beside};

/// A run whose client submits its next op `pause_s` after the last one was answered.
struct looping_run {
  std::string name;
  std::string tenant;
  double op_s = 0;  ///< alone on the node
  double pause_s = 0;
  double left_s = 0;
  double next_s = 0;
  double asked_s = 0;
  bool is_working = false;
  bool is_waiting = false;
  std::vector<double> times_s = {};
};

enum class rule : std::uint8_t { fair, none };

class processor {
 public:
  explicit processor(rule how) : how_(how) {}

  void run(std::vector<looping_run>& runs, double until_s) {
    while (now_s_ < until_s) {
      for (looping_run& r : runs) {
        if (!r.is_working && !r.is_waiting && r.next_s <= now_s_) submit(r);
      }
      advance(runs);
    }
  }

 private:
  void submit(looping_run& r) {
    r.asked_s = now_s_;
    if (how_ == rule::none || turns_.take({r.name, r.tenant, one_node}, now_s_)) return begin(r);
    r.is_waiting = true;
  }

  void begin(looping_run& r) {
    r.is_waiting = false;
    r.is_working = true;
    r.left_s = r.op_s;
  }

  void advance(std::vector<looping_run>& runs) {
    double share = 0;
    for (const looping_run& r : runs)
      share += r.is_working ? 1 : 0;
    double step = 1e9;
    for (const looping_run& r : runs) {
      if (r.is_working) step = std::min(step, r.left_s * share);
      if (!r.is_working && !r.is_waiting) step = std::min(step, r.next_s - now_s_);
    }
    now_s_ += step;
    for (looping_run& r : runs) {
      if (!r.is_working) continue;
      r.left_s -= step / share;
      if (r.left_s < 1e-12) end(runs, r);
    }
  }

  void end(std::vector<looping_run>& runs, looping_run& r) {
    r.is_working = false;
    r.times_s.push_back(now_s_ - r.asked_s);
    r.next_s = now_s_ + r.pause_s;
    if (how_ == rule::none) return;
    for (const std::string& holder : turns_.end(r.name, now_s_))
      begin(*std::find_if(runs.begin(), runs.end(), [&](auto& o) { return o.name == holder; }));
  }

  rule how_;
  work_turns turns_;
  double now_s_ = 0;
};

/// How much longer a tiny op takes beside `num_runs` of another tenant than alone, on average.
double slowdown(rule how, int num_runs, double big_op_s) {
  std::vector<looping_run> runs{{"tiny", "modest", 0.01, 0.05}};
  for (int i = 0; i < num_runs; ++i)
    runs.push_back({"big" + std::to_string(i), "greedy", big_op_s, 0});
  processor(how).run(runs, 300);
  const auto& times = runs.front().times_s;
  double sum = 0;
  for (std::size_t i = 1; i < times.size(); ++i)
    sum += times[i];
  return sum / static_cast<double>(times.size() - 1) / runs.front().op_s;
}

}  // namespace

BOOST_AUTO_TEST_CASE(many_runs_and_giant_ops_of_one_do_not_starve_another) {
  for (const double big_op_s : {0.01, 1.0, 30.0}) {
    BOOST_TEST(slowdown(rule::fair, 31, big_op_s) < 2.5, big_op_s);
    BOOST_TEST(slowdown(rule::none, 31, big_op_s) > 20, big_op_s);
  }
  BOOST_TEST(slowdown(rule::fair, 0, 1) == 1, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(a_tenant_alone_is_not_limited) {
  work_turns turns;
  for (const char* run : {"a", "b", "c"})
    BOOST_TEST(turns.take({run, "t", one_node}, 0));
  BOOST_TEST(turns.take({"other", "u", one_node}, 1));
  // From now on they meet: what works goes on, and nothing new starts beside it.
  BOOST_TEST(turns.end("a", 1).empty());
  BOOST_TEST(!turns.take({"a", "t", one_node}, 1));
  BOOST_TEST(turns.end("b", 1).empty());
  BOOST_TEST((turns.end("c", 1) == std::vector<std::string>{"a"}));
  BOOST_TEST(!turns.take({"b", "t", one_node}, 1));
  BOOST_TEST(turns.end("other", 1).empty());
  // Forgotten after a while.
  BOOST_TEST((turns.end("a", 1 + work_turns::memory_s) == std::vector<std::string>{"b"}));
  BOOST_TEST(turns.take({"a", "t", one_node}, 1 + work_turns::memory_s));
}

BOOST_AUTO_TEST_CASE(tenants_meet_on_a_machine_and_are_limited_on_a_node) {
  work_turns turns;
  BOOST_TEST(turns.take({"a", "t", one_node}, 0));
  BOOST_TEST(turns.take({"other", "u", {beside}}, 0));
  // One op on each node, whichever the other tenant uses.
  BOOST_TEST(!turns.take({"b", "t", one_node}, 0));
  BOOST_TEST(turns.take({"c", "t", {beside}}, 0));
  BOOST_TEST(!turns.take({"d", "t", two_nodes}, 0));
  // Nobody else is there.
  BOOST_TEST(turns.take({"e", "t", {elsewhere}}, 0));
  BOOST_TEST(turns.take({"f", "t", {elsewhere}}, 0));
  BOOST_TEST((turns.end("a", 0) == std::vector<std::string>{"b"}));
  BOOST_TEST(turns.end("c", 0).empty());
  BOOST_TEST((turns.end("b", 0) == std::vector<std::string>{"d"}));
}

BOOST_AUTO_TEST_CASE(who_waits_is_served_in_order_of_arrival) {
  work_turns turns;
  BOOST_TEST(turns.take({"other", "u", two_nodes}, 0));
  BOOST_TEST(turns.take({"a", "t", one_node}, 0));
  BOOST_TEST(!turns.take({"b", "t", two_nodes}, 0));
  // On a free node, but not before the one that waits for both.
  BOOST_TEST(!turns.take({"c", "t", {beside}}, 0));
  BOOST_TEST(turns.num_waiting() == 2U);
  BOOST_TEST((turns.end("a", 0) == std::vector<std::string>{"b"}));
  BOOST_TEST((turns.end("b", 0) == std::vector<std::string>{"c"}));
}

BOOST_AUTO_TEST_CASE(who_has_gone_holds_up_nobody) {
  work_turns turns;
  BOOST_TEST(turns.take({"other", "u", one_node}, 0));
  BOOST_TEST(turns.take({"a", "t", one_node}, 0));
  BOOST_TEST(!turns.take({"b", "t", one_node}, 0));
  BOOST_TEST(!turns.take({"c", "t", one_node}, 0));
  BOOST_TEST(turns.end("b", 0).empty());
  BOOST_TEST((turns.end("a", 0) == std::vector<std::string>{"c"}));
  // A holder that asks again has left what it had.
  BOOST_TEST(turns.take({"c", "t", one_node}, 0));
  BOOST_TEST(turns.end("c", 0).empty());
  BOOST_TEST(turns.end("c", 0).empty());
}

BOOST_AUTO_TEST_CASE(without_a_tenant_each_stands_for_itself) {
  work_turns turns;
  BOOST_TEST(turns.take({"a", "", one_node}, 0));
  BOOST_TEST(turns.take({"b", "", one_node}, 0));
}
