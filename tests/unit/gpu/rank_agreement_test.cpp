// What one rank refuses all refuse, with its words.

#include "gpu/rank_agreement.hpp"

#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"

namespace {

using namespace troupe;

std::vector<result<void>> agreed(std::vector<result<void>> mine) {
  auto comms = gpu::make_thread_comms(static_cast<std::uint32_t>(mine.size()));
  {
    std::vector<std::jthread> ranks;
    for (std::size_t rank = 0; rank < mine.size(); ++rank)
      ranks.emplace_back([&, rank] { mine[rank] = gpu::agree(*comms[rank], mine[rank]); });
  }
  return mine;
}

BOOST_AUTO_TEST_CASE(nobody_refuses) {
  for (const std::size_t world_size : {1U, 2U, 5U})
    for (const auto& outcome : agreed(std::vector<result<void>>(world_size)))
      BOOST_TEST(outcome.has_value());
}

BOOST_AUTO_TEST_CASE(a_rank_alone_keeps_its_words) {
  const auto outcome = agreed({fail(errc::not_found, "what", "cause", "action")}).front();
  BOOST_TEST((outcome.error() == error{errc::not_found, "what", "cause", "action"}));
}

BOOST_AUTO_TEST_CASE(the_lowest_rank_that_refused_speaks_for_all) {
  std::vector<result<void>> mine(4);
  mine[1] = fail(errc::invalid_argument, "9 tokens are too many", "caf\xc3\xa9", "send 8");
  mine[3] = fail(errc::not_finite, "another", "", "");
  for (const auto& outcome : agreed(mine))
    BOOST_TEST((outcome.error() == error{errc::invalid_argument, "rank 1: 9 tokens are too many",
                                         "caf\xc3\xa9", "send 8"}));
}

BOOST_AUTO_TEST_CASE(long_words_are_cut_between_characters) {
  std::string text;
  for (int i = 0; i < 1000; ++i)
    text += "\xe2\x82\xac";
  std::vector<result<void>> mine(2);
  mine[0] = fail(errc::invalid_argument, text, text, text);
  for (const auto& outcome : agreed(mine)) {
    BOOST_TEST(outcome.error().cause.size() >= 400U);
    BOOST_TEST(outcome.error().cause.size() % 3 == 0U);
    BOOST_TEST(text.starts_with(outcome.error().cause));
    BOOST_TEST(outcome.error().what == "rank 0: " + outcome.error().cause);
  }
}

BOOST_AUTO_TEST_CASE(a_lost_rank_is_no_refusal) {
  auto comms = gpu::make_thread_comms(2);
  comms[1].reset();
  const auto outcome = gpu::agree(*comms[0], fail(errc::invalid_argument, "mine"));
  BOOST_TEST((outcome.error().code == errc::peer_lost));
}

}  // namespace
