// Batches of ended samples, told once something ended and again when asked again.

#include "apps/gateway/completion_feed.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

using namespace troupe::gateway;
using end = completion_feed::end;

namespace {

struct batches {
  std::vector<boost::json::object> got;
  responder take() {
    return
        [this](const reply& value) { got.push_back(boost::json::parse(value.body).as_object()); };
  }
  [[nodiscard]] std::uint64_t cursor() const {
    return got.back().at("cursor").to_number<std::uint64_t>();
  }
  [[nodiscard]] std::size_t size() const { return got.back().at("completions").as_array().size(); }
};

constexpr std::chrono::milliseconds patience{30'000};

}  // namespace

BOOST_AUTO_TEST_CASE(a_poll_waits_for_something_to_end) {
  boost::asio::io_context loop;
  completion_feed feed(loop);
  batches seen;
  feed.await("s:sample:0/0", 0, patience, seen.take());
  feed.ended("s:sample:1/0", "other", end::finished, 1);
  BOOST_TEST(seen.got.empty());
  feed.ended("s:sample:0/0", "first", end::finished, 7);
  BOOST_REQUIRE(seen.got.size() == 1U);
  BOOST_TEST(seen.size() == 1U);
  const auto& line = seen.got[0].at("completions").as_array()[0].as_object();
  BOOST_TEST(line.at("request_id").as_string() == "first");
  BOOST_TEST(line.at("response_payload_uncompressed_size").as_int64() == 7);
}

BOOST_AUTO_TEST_CASE(the_same_cursor_gives_the_same_batch) {
  boost::asio::io_context loop;
  completion_feed feed(loop);
  batches seen;
  feed.ended("c", "a", end::finished, 1);
  feed.ended("c", "b", end::failed, 0);
  feed.await("c", 0, patience, seen.take());
  BOOST_TEST(seen.size() == 2U);
  const auto cursor = seen.cursor();
  feed.await("c", 0, patience, seen.take());
  BOOST_TEST(seen.size() == 2U);
  feed.await("c", cursor, std::chrono::milliseconds(0), seen.take());
  BOOST_TEST(seen.size() == 0U);
  BOOST_TEST(seen.cursor() == cursor);
}

BOOST_AUTO_TEST_CASE(pollers_of_an_ended_session_are_let_go) {
  boost::asio::io_context loop;
  completion_feed feed(loop);
  batches seen;
  feed.await("s:sample:0/0", 0, patience, seen.take());
  feed.forget("s");
  BOOST_REQUIRE(seen.got.size() == 1U);
  BOOST_TEST(seen.size() == 0U);
}
