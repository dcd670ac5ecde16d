#include <cstring>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "tests/unit/messages/samples.hpp"

using namespace troupe;

namespace {

constexpr std::uint64_t num_seeds = 24;  // three times the variants of the richest message

bool equal(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_message_survives_the_wire) {
  for (const test::message_case& message : test::all_messages()) {
    for (std::uint64_t seed = 0; seed < num_seeds; ++seed)
      BOOST_TEST(message.survives(seed), message.name << " with seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(equal_structs_have_equal_bytes) {
  for (const test::message_case& message : test::all_messages()) {
    for (std::uint64_t seed = 0; seed < num_seeds; ++seed) {
      const auto first = message.encode_sample(seed);
      const auto second = message.encode_sample(seed);
      BOOST_TEST_REQUIRE(first.has_value(), message.name);
      BOOST_TEST(equal(first->words(), second->words()), message.name << " encoded twice");
      const auto recoded = message.recode(first->words());
      BOOST_TEST_REQUIRE(recoded.has_value(), message.name);
      BOOST_TEST(equal(first->words(), recoded->words()), message.name << " decoded between");
    }
  }
}

BOOST_AUTO_TEST_CASE(other_values_have_other_bytes) {
  for (const test::message_case& message : test::all_messages()) {
    const auto first = message.encode_sample(0);
    const auto second = message.encode_sample(message.num_variants);
    const bool is_empty = first->words().size() <= 2;  // a message without fields
    BOOST_TEST((is_empty || !equal(first->words(), second->words())), message.name);
  }
}

BOOST_AUTO_TEST_CASE(a_frame_is_one_segment_whose_table_names_its_length) {
  for (const test::message_case& message : test::all_messages()) {
    const auto frame = message.encode_sample(3);
    BOOST_TEST(frame->words()[0] == (std::uint64_t{frame->words().size() - 1} << 32U),
               message.name);
  }
}
