// Whether terms of a state digest are mixed as well as finding a wrong element needs: whatever bit
// of it flips, every bit of both halves does so half of the time, and neither half tells of the
// other.

#include "messages/state_digest.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

using namespace troupe;

constexpr std::size_t places = 1024;
constexpr unsigned bits_of_element = 32;
constexpr double flips = places * bits_of_element;

/// Values as weights have them, from element 5 * 2^20 of parameter 3 on.
std::uint32_t bits_at(std::size_t place) {
  return std::bit_cast<std::uint32_t>(0.001F * static_cast<float>(place) - 0.5F);
}

/// What changes of a term, for every place and every bit of its element.
std::vector<state_digest> all_changes() {
  std::vector<state_digest> changes;
  for (std::size_t place = 0; place < places; ++place) {
    const std::uint64_t element = (5U << 20U) + place;
    const state_digest whole = element_digest(3, element, bits_at(place));
    for (unsigned bit = 0; bit < bits_of_element; ++bit) {
      const state_digest other = element_digest(3, element, bits_at(place) ^ (1U << bit));
      changes.push_back({whole.low ^ other.low, whole.high ^ other.high});
    }
  }
  return changes;
}

/// How often one number's bits are set, as a share of all.
template <class NumberOf>
std::array<double, 64> shares(const std::vector<state_digest>& changes, const NumberOf& number_of) {
  std::array<double, 64> set{};
  for (const state_digest& change : changes)
    for (unsigned bit = 0; bit < 64; ++bit)
      set[bit] += static_cast<double>((number_of(change) >> bit) & 1U) / flips;
  return set;
}

/// Ten standard deviations of a fair coin.
constexpr double tolerance = 10 * 0.5 / 181.0;
static_assert(181.0 * 181.0 < flips);

void check_fair(const std::array<double, 64>& set) {
  for (const double share : set)
    BOOST_TEST(std::abs(share - 0.5) < tolerance);
}

BOOST_AUTO_TEST_CASE(each_bit_of_both_halves_flips_half_of_the_time) {
  const auto changes = all_changes();
  check_fair(shares(changes, [](const state_digest& change) { return change.low; }));
  check_fair(shares(changes, [](const state_digest& change) { return change.high; }));
}

BOOST_AUTO_TEST_CASE(halves_do_not_follow_each_other) {
  const auto changes = all_changes();
  for (int turn = 0; turn < 64; ++turn)
    check_fair(shares(changes, [turn](const state_digest& change) {
      return change.low ^ std::rotl(change.high, turn);
    }));
}

BOOST_AUTO_TEST_CASE(neighbours_that_change_places_are_noticed) {
  for (std::size_t place = 0; place < places; ++place) {
    state_digest kept = element_digest(0, place, bits_at(place));
    kept += element_digest(0, place + 1, bits_at(place + 1));
    state_digest swapped = element_digest(0, place, bits_at(place + 1));
    swapped += element_digest(0, place + 1, bits_at(place));
    BOOST_TEST(kept.low != swapped.low);
    BOOST_TEST(kept.high != swapped.high);
  }
}

}  // namespace
