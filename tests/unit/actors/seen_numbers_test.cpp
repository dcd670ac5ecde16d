#include "actors/logic/seen_numbers.hpp"

#include <boost/test/unit_test.hpp>

using troupe::logic::seen_numbers;

BOOST_AUTO_TEST_CASE(a_number_is_new_once_whatever_its_order) {
  seen_numbers seen;
  for (const std::uint64_t number : {3U, 1U, 2U})
    BOOST_TEST(seen.note(number));
  for (const std::uint64_t number : {1U, 2U, 3U})
    BOOST_TEST(!seen.note(number));
}

BOOST_AUTO_TEST_CASE(what_was_forgotten_counts_as_seen) {
  seen_numbers seen;
  for (std::uint64_t number = 10; number <= 10 + seen_numbers::window; ++number)
    BOOST_TEST(seen.note(number));
  BOOST_TEST(!seen.note(10));
  BOOST_TEST(!seen.note(9));
  BOOST_TEST(!seen.note(11));
  BOOST_TEST(seen.note(11 + seen_numbers::window));
}
