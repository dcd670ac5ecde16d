// Routing: prompts go back to the replica that knows them, until it is too busy.

#include "actors/logic/replica_router.hpp"

#include <map>

#include <boost/test/unit_test.hpp>

namespace troupe::logic {
namespace {

std::vector<token_id> prompt(token_id kind, std::size_t size) {
  std::vector<token_id> out;
  for (std::size_t i = 0; i < size; ++i)
    out.push_back(kind * 1000 + static_cast<token_id>(i));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(replica_router_test)

BOOST_AUTO_TEST_CASE(without_history_the_idlest_is_taken) {
  replica_router router;
  const std::vector<routing_candidate> candidates{{0, 5}, {1, 2}, {2, 2}};
  BOOST_TEST(router.choose(prompt(1, 10), candidates).value() == 1U);
  BOOST_TEST(!router.choose(prompt(1, 10), {}).has_value());
}

BOOST_AUTO_TEST_CASE(a_known_beginning_goes_back) {
  replica_router router;
  BOOST_TEST(router.choose(prompt(1, 200), std::vector<routing_candidate>{{3, 0}}).value() == 3U);
  const std::vector<routing_candidate> all{{0, 0}, {3, 6}};
  // It goes on with other tokens behind the third page.
  auto longer = prompt(1, 192);
  longer.resize(400, 7);
  BOOST_TEST(router.choose(longer, all).value() == 3U);
  BOOST_TEST(router.choose(prompt(2, 200), all).value() == 0U);
  auto other_page = prompt(1, 200);
  other_page[5] = 0;
  BOOST_TEST(router.choose(other_page, all).value() == 0U);
}

BOOST_AUTO_TEST_CASE(a_busy_replica_is_passed_by) {
  replica_router router;
  BOOST_TEST(router.choose(prompt(1, 70), std::vector<routing_candidate>{{3, 0}}).value() == 3U);
  BOOST_TEST(
      router.choose(prompt(1, 70), std::vector<routing_candidate>{{0, 0}, {3, 100}}).value() == 0U);
  // Now both know it, and the last one that took it is asked.
  BOOST_TEST(router.choose(prompt(1, 70), std::vector<routing_candidate>{{0, 3}, {3, 1}}).value() ==
             0U);
}

BOOST_AUTO_TEST_CASE(forgotten_replicas_are_as_good_as_others) {
  replica_router router;
  BOOST_TEST(router.choose(prompt(1, 70), std::vector<routing_candidate>{{3, 0}}).value() == 3U);
  router.forget(3);
  BOOST_TEST(router.choose(prompt(1, 70), std::vector<routing_candidate>{{0, 0}, {3, 0}}).value() ==
             0U);
}

BOOST_AUTO_TEST_CASE(new_prompts_spread) {
  replica_router router;
  std::map<std::uint32_t, std::uint64_t> load{{0, 0}, {1, 0}, {2, 0}};
  for (token_id kind = 0; kind < 300; ++kind) {
    std::vector<routing_candidate> candidates;
    for (const auto& [place, busy] : load)
      candidates.push_back({place, busy});
    ++load[router.choose(prompt(kind, 65), candidates).value()];
  }
  for (const auto& [place, busy] : load)
    BOOST_TEST(busy == 100U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
