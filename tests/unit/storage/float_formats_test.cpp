#include "storage/float_formats.hpp"

#include <cmath>
#include <limits>

#include <boost/test/unit_test.hpp>

using namespace troupe::storage;

namespace {

/// The value of a half by its definition, in arithmetic that shares nothing with the conversion.
double half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_half_widens_exactly) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_f16(half);
    if ((bits & 0x7c00) != 0x7c00) {
      BOOST_REQUIRE(double{value} == half_value(half));
      BOOST_REQUIRE(std::signbit(value) == ((bits & 0x8000) != 0));
    } else {
      BOOST_REQUIRE(std::isnan(value) == ((bits & 0x3ff) != 0));
      BOOST_REQUIRE(std::isinf(value) == ((bits & 0x3ff) == 0));
    }
  }
}

BOOST_AUTO_TEST_CASE(every_bf16_survives_the_round_trip) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const bool signalling = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0 && (bits & 0x40) == 0;
    const auto expected = signalling ? static_cast<std::uint16_t>(bits | 0x40) : half;
    BOOST_REQUIRE(bf16_from_float(float_from_bf16(half)) == expected);
  }
}

BOOST_AUTO_TEST_CASE(narrowing_rounds_to_nearest_even) {
  const auto narrowed = [](std::uint32_t bits) {
    return bf16_from_float(std::bit_cast<float>(bits));
  };
  BOOST_TEST(narrowed(0x3f808000) == 0x3f80);
  BOOST_TEST(narrowed(0x3f818000) == 0x3f82);
  BOOST_TEST(narrowed(0x3f808001) == 0x3f81);
  BOOST_TEST(narrowed(0x3f807fff) == 0x3f80);
  BOOST_TEST(narrowed(0x7f7fffff) == 0x7f80);
  BOOST_TEST(narrowed(0x7f800001) == 0x7fc0);
  BOOST_TEST(narrowed(0xffffffff) == 0xffff);
}
