// Bodies that arrive compressed, honest ones and others.

#include "apps/gateway/body_coding.hpp"

#include <boost/test/unit_test.hpp>
#include <zstd.h>

using namespace troupe;
using namespace troupe::gateway;

namespace {

std::string packed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

constexpr std::size_t plenty = 1 << 20;

}  // namespace

BOOST_AUTO_TEST_CASE(plain_and_packed_bodies_are_the_same) {
  const std::string text(100'000, 'x');
  BOOST_TEST(*decoded_body("", text, plenty) == text);
  BOOST_TEST(*decoded_body("identity", text, plenty) == text);
  BOOST_TEST(*decoded_body("zstd", packed(text), plenty) == text);
  BOOST_TEST(*decoded_body("zstd", packed(text) + packed("more"), plenty) == text + "more");
  BOOST_TEST((decoded_body("br", text, plenty).error().code == errc::unsupported));
}

BOOST_AUTO_TEST_CASE(a_bomb_stops_at_the_limit) {
  const std::string bomb = packed(std::string(std::size_t{64} << 20, '\0'));
  BOOST_TEST(bomb.size() < 100'000U);
  BOOST_TEST((decoded_body("zstd", bomb, plenty).error().code == errc::frame_too_large));
}

BOOST_AUTO_TEST_CASE(damaged_bodies_are_refused) {
  const std::string good = packed(std::string(1000, 'a') + "end");
  BOOST_TEST(decoded_body("zstd", "", plenty).has_value() == false);
  for (std::size_t size = 0; size < good.size(); ++size)
    BOOST_TEST(!decoded_body("zstd", good.substr(0, size), plenty).has_value());
  BOOST_TEST(!decoded_body("zstd", "no zstd at all", plenty).has_value());
}
