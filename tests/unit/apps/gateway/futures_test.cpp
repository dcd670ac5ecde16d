// Results that are pushed to who waits, and only to their owner.

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include "apps/gateway/future_table.hpp"

using namespace troupe;
using namespace troupe::gateway;

namespace {

struct answers {
  std::vector<reply> got;
  responder take() {
    return [this](reply value) { got.push_back(std::move(value)); };
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(waiters_are_answered_in_the_moment_of_the_result) {
  boost::asio::io_context loop;
  future_table table(loop);
  const auto id = table.open("key");
  BOOST_REQUIRE(id.has_value());
  answers seen;
  table.retrieve(*id, "key", seen.take());
  table.retrieve(*id, "key", seen.take());
  BOOST_TEST(seen.got.empty());
  BOOST_TEST(table.num_waiting() == 2U);
  table.resolve(*id, json_reply({{"a", 1}}));
  BOOST_TEST(seen.got.size() == 2U);
  BOOST_TEST(table.num_waiting() == 0U);
  table.resolve(*id, json_reply({{"a", 2}}));
  table.retrieve(*id, "key", seen.take());
  BOOST_REQUIRE(seen.got.size() == 3U);
  for (const reply& one : seen.got)
    BOOST_TEST(one.body == "{\"a\":1}");
}

BOOST_AUTO_TEST_CASE(others_learn_nothing) {
  boost::asio::io_context loop;
  future_table table(loop);
  const auto id = table.open("key");
  answers seen;
  table.retrieve(*id, "other", seen.take());
  table.retrieve("made-up", "key", seen.take());
  BOOST_REQUIRE(seen.got.size() == 2U);
  BOOST_TEST(seen.got[0].status == 410U);
  BOOST_TEST(seen.got[0].body == seen.got[1].body);
}

BOOST_AUTO_TEST_CASE(ids_cannot_be_guessed_from_others) {
  boost::asio::io_context loop;
  future_table table(loop);
  const auto first = table.open("key");
  const auto second = table.open("key");
  BOOST_TEST(first->size() == 64U);
  BOOST_TEST(*first != *second);
}
