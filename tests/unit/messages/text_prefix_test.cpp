// Texts are cut to their bound, between characters.

#include "messages/text_prefix.hpp"

#include <string>

#include <boost/test/unit_test.hpp>

namespace {

using troupe::text_prefix;

BOOST_AUTO_TEST_CASE(what_fits_stays) {
  for (const std::string text : {"", "a", "abc", "\xc3\xa9"})
    BOOST_TEST(text_prefix(text, text.size()) == text);
}

BOOST_AUTO_TEST_CASE(characters_are_kept_whole) {
  // One, two, three and four bytes.
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xad";
  const std::size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (std::size_t bytes_max = 0; bytes_max <= text.size(); ++bytes_max)
    BOOST_TEST(text_prefix(text, bytes_max) == text.substr(0, ends[bytes_max]));
}

BOOST_AUTO_TEST_CASE(what_is_no_text_is_cut_too) {
  BOOST_TEST(text_prefix(std::string(9, '\x80'), 4).empty());
}

}  // namespace
