// The order in which operations of a run leave when losses are computed beside them.

#include "apps/client/submission_queue.hpp"

#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

using namespace troupe;
using client::pass_phase;
using client::submission;

submission named(const std::string& name, pass_phase phase) {
  submission s;
  s.cursor = name;
  s.phase = phase;
  return s;
}

/// Lower case: a custom pass. `overlapping`: its loss is computed beside what the queue allows.
std::string order_of(const std::string& calls, bool overlapping) {
  client::submission_queue queue;
  for (const char call : calls) {
    const bool is_custom = call >= 'a';
    queue.add(named({call}, is_custom ? pass_phase::first : pass_phase::whole));
  }
  std::string order;
  auto current = queue.take();
  while (current) {
    const submission finished = *current;
    order += finished.cursor;
    current.reset();
    if (finished.phase == pass_phase::first) {
      if (overlapping) current = queue.take_beside();
      queue.add_second_phase(named("(" + finished.cursor + ")", pass_phase::second));
    }
    if (!current) current = queue.take();
  }
  return order;
}

BOOST_AUTO_TEST_CASE(one_after_the_other) {
  BOOST_TEST(order_of("abSc", false) == "a(a)b(b)Sc(c)");
}

BOOST_AUTO_TEST_CASE(a_forward_runs_beside_a_loss) {
  BOOST_TEST(order_of("ab", true) == "ab(a)(b)");
  BOOST_TEST(order_of("abc", true) == "ab(a)(b)c(c)");
  BOOST_TEST(order_of("abcd", true) == "ab(a)(b)cd(c)(d)");
}

BOOST_AUTO_TEST_CASE(nothing_else_passes_a_second_phase) {
  BOOST_TEST(order_of("aS", true) == "a(a)S");
  BOOST_TEST(order_of("abSabS", true) == "ab(a)(b)Sab(a)(b)S");
  BOOST_TEST(order_of("SaFbS", true) == "Sa(a)Fb(b)S");
}

BOOST_AUTO_TEST_CASE(an_empty_queue_gives_nothing) {
  client::submission_queue queue;
  BOOST_TEST(!queue.take().has_value());
  BOOST_TEST(!queue.take_beside().has_value());
}

}  // namespace
