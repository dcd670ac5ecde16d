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

BOOST_AUTO_TEST_CASE(what_nobody_asks_for_any_more_is_told) {
  boost::asio::io_context loop;
  future_table table(loop, std::chrono::milliseconds(1));
  std::vector<std::string> abandoned;
  table.on_abandoned([&](const std::string& id) { abandoned.push_back(id); });
  const std::string gone = table.open("key").value();
  const std::string done = table.open("key").value();
  const std::string awaited = table.open("key").value();
  const std::string never_asked_for = table.open("key").value();
  answers seen;
  // This client asks again as soon as it is told "not yet".
  std::size_t num_polls = 0;
  std::function<void(reply)> ask_again = [&](const reply& not_yet) {
    BOOST_TEST(not_yet.status == 408U);
    ++num_polls;
    table.retrieve(awaited, "key", ask_again);
  };
  table.retrieve(awaited, "key", ask_again);
  table.retrieve(gone, "key", seen.take());
  table.retrieve(done, "key", [&](const reply&) { table.resolve(done, json_reply({})); });
  while (abandoned.empty() || num_polls < 4)
    loop.run_one();
  BOOST_TEST((abandoned == std::vector<std::string>{gone}));
  BOOST_TEST(seen.got.size() == 1U);
}
