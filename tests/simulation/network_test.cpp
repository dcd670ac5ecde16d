// The simulated links themselves: what they may do to mail between places, and only there.

#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/message_types.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using tests::sim_cluster;
using tests::sim_network;

/// One actor that notes the numbers it gets, at another place than the one that sends them.
struct two_places {
  sim_cluster cluster;
  std::shared_ptr<std::vector<int>> got = std::make_shared<std::vector<int>>();
  caf::actor receiver;
  sim_network::place there = 0;

  explicit two_places(std::uint64_t seed) : cluster(seed, 0, 0) {
    receiver = cluster.system().spawn([got = got](caf::event_based_actor* self) {
      return caf::behavior{[got, self](int number) {
        got->push_back(number);
        if (number < 0) self->quit();
      }};
    });
    there = cluster.network().add_place();
    cluster.network().settle(receiver.id(), there);
    cluster.run(100);
  }
  ~two_places() {
    cluster.network().heal();
    caf::anon_send(receiver, -1);
    cluster.run(100);
  }
  two_places(const two_places&) = delete;
  two_places& operator=(const two_places&) = delete;

  void send(int count) {
    const auto sender =
        cluster.system().spawn([count, to = receiver](caf::event_based_actor* self) {
          for (int i = 1; i <= count; ++i)
            self->send(to, i);
        });
    cluster.network().settle(sender.id(), sim_network::control);
    cluster.run(100);
  }
  void pass(milliseconds time) {
    for (milliseconds t{0}; t < time; t += milliseconds(50)) {
      cluster.run(100);
      cluster.advance(milliseconds(50));
    }
    cluster.run(100);
  }
};

const std::vector<int> in_order{1, 2, 3, 4, 5, 6, 7, 8};

}  // namespace

BOOST_AUTO_TEST_CASE(fair_weather_changes_nothing) {
  two_places t(1);
  t.send(8);
  BOOST_TEST(*t.got == in_order);
  BOOST_TEST(t.cluster.network().num_held() == 0U);
}

BOOST_AUTO_TEST_CASE(slow_links_keep_the_order_and_bad_ones_do_not) {
  std::size_t num_mixed = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    for (const bool keeps_order : {true, false}) {
      two_places t(seed);
      t.cluster.network().set_weather({.delay_max = milliseconds(900), .keeps_order = keeps_order},
                                      milliseconds(10'000));
      t.send(8);
      BOOST_TEST(t.got->size() < 8U);
      t.pass(milliseconds(1000));
      if (keeps_order) BOOST_TEST(*t.got == in_order);
      num_mixed += *t.got == in_order ? 0U : 1U;
      std::ranges::sort(*t.got);
      BOOST_TEST(*t.got == in_order);
    }
  }
  BOOST_TEST(num_mixed >= 5U);
}

BOOST_AUTO_TEST_CASE(mail_is_lost_and_repeated_as_often_as_the_weather_says) {
  two_places lost(3);
  lost.cluster.network().set_weather({.lose_one_in = 2}, milliseconds(10'000));
  lost.send(8);
  lost.pass(milliseconds(100));
  BOOST_TEST(lost.got->size() + lost.cluster.network().num_lost() == 8U);
  BOOST_TEST(lost.cluster.network().num_lost() > 0U);
  two_places twice(3);
  twice.cluster.network().set_weather({.repeat_one_in = 2}, milliseconds(10'000));
  twice.send(8);
  twice.pass(milliseconds(100));
  BOOST_TEST(twice.got->size() == 8U + twice.cluster.network().num_repeated());
  BOOST_TEST(twice.cluster.network().num_repeated() > 0U);
}

BOOST_AUTO_TEST_CASE(a_cut_link_holds_its_mail_until_it_heals_or_is_given_up) {
  for (const bool is_given_up : {false, true}) {
    two_places t(5);
    t.cluster.network().cut_off(t.there, sim_network::way::in, milliseconds(2000));
    t.send(8);
    t.pass(milliseconds(1000));
    BOOST_TEST(t.got->empty());
    if (is_given_up) t.cluster.network().drop(t.there);
    t.pass(milliseconds(1500));
    BOOST_TEST(*t.got == (is_given_up ? std::vector<int>() : in_order));
  }
  two_places other_way(5);
  other_way.cluster.network().cut_off(other_way.there, sim_network::way::out, milliseconds(2000));
  other_way.send(8);
  BOOST_TEST(*other_way.got == in_order);
}

}  // namespace troupe
