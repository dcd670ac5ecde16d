#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "messages/checkpoint.hpp"
#include "messages/cluster.hpp"
#include "messages/journal.hpp"
#include "messages/sampling.hpp"
#include "messages/wire/codec.hpp"
#include "tests/unit/messages/samples.hpp"
#include "tests/unit/messages/value_source.hpp"

// Bytes a peer may send that no encoder of ours makes. Whatever comes, decode answers an error or a
// value that can be sent on.

using namespace troupe;

namespace {

using words = std::vector<std::uint64_t>;

words words_of(const test::message_case& message, std::uint64_t seed) {
  const auto frame = message.encode_sample(seed);
  return {frame->words().begin(), frame->words().end()};
}

template <class Visit>
void for_each_sample(Visit visit) {
  for (const test::message_case& message : test::all_messages()) {
    for (std::uint64_t variant = 0; variant < message.num_variants; ++variant)
      visit(message, words_of(message, variant));
  }
}

/// Decoded or refused, and if decoded, then good for another trip.
void check_answer(const test::message_case& message, const words& hostile) {
  const auto recoded = message.recode(hostile);
  if (!recoded) {
    BOOST_TEST(!recoded.error().what.empty(), message.name);
    BOOST_TEST(!recoded.error().action.empty(), message.name);
    return;
  }
  const auto again = message.recode(recoded->words());
  BOOST_TEST(again.has_value(), message.name << " decodes to what cannot be decoded");
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_frame_cut_at_any_word_is_refused) {
  for_each_sample([](const test::message_case& message, const words& whole) {
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const auto recoded = message.recode(std::span(whole).first(length));
      BOOST_TEST(!recoded.has_value(), message.name << " cut to " << length << " words");
      if (!recoded) BOOST_TEST((recoded.error().code == errc::protocol));
    }
  });
}

BOOST_AUTO_TEST_CASE(a_segment_cut_at_any_word_does_no_harm) {
  for_each_sample([](const test::message_case& message, const words& whole) {
    for (std::size_t length = 1; length < whole.size(); ++length) {
      words cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      cut[0] = std::uint64_t{length - 1} << 32U;
      check_answer(message, cut);
    }
  });
}

BOOST_AUTO_TEST_CASE(words_after_the_message_are_refused) {
  for_each_sample([](const test::message_case& message, words longer) {
    longer.push_back(0);
    const auto recoded = message.recode(longer);
    BOOST_TEST(!recoded.has_value(), message.name);
  });
}

BOOST_AUTO_TEST_CASE(flipped_bits_do_no_harm) {
  test::value_source random(7);
  for_each_sample([&](const test::message_case& message, const words& whole) {
    for (int round = 0; round < 400; ++round) {
      words flipped = whole;
      for (std::uint64_t flips = 1 + random.below(3); flips > 0; --flips)
        flipped[random.below(flipped.size())] ^= std::uint64_t{1} << random.below(64);
      check_answer(message, flipped);
    }
  });
}

BOOST_AUTO_TEST_CASE(random_words_do_no_harm) {
  test::value_source random(11);
  for_each_sample([&](const test::message_case& message, const words& whole) {
    for (int round = 0; round < 100; ++round) {
      words noise = whole;
      for (std::size_t i = 1; i < noise.size(); ++i) {
        if (random.below(4) == 0) noise[i] = random.word();
      }
      check_answer(message, noise);
    }
  });
}

// A list pointer to elements without size may claim 2^29 of them and fits into any frame.
BOOST_AUTO_TEST_CASE(claims_of_half_a_billion_empty_elements_are_refused) {
  constexpr std::uint64_t list_tag = 1;
  constexpr std::uint64_t most_elements = (std::uint64_t{1} << 29U) - 1;
  std::size_t num_lists = 0;
  for_each_sample([&](const test::message_case& message, const words& whole) {
    for (std::size_t i = 1; i < whole.size(); ++i) {
      if ((whole[i] & 3U) != list_tag) continue;
      words claim = whole;
      claim[i] = (claim[i] & 0xffffffffU) | (most_elements << 35U);
      const auto recoded = message.recode(claim);
      num_lists += !recoded.has_value();
      check_answer(message, claim);
    }
  });
  BOOST_TEST(num_lists > 100U);
}

// The same field of two messages, one with a lower limit: what the first may send, the second
// refuses by its own limit.
BOOST_AUTO_TEST_CASE(a_list_over_its_limit_is_refused_before_it_is_read) {
  run_events_reply events;
  events.events.resize(limits::samples_per_request_max + 1);
  const auto sequences = wire::decode<sample_reply>(wire::encode(events)->words());
  BOOST_TEST_REQUIRE(!sequences.has_value());
  BOOST_TEST((sequences.error().code == errc::invalid_argument));
  BOOST_TEST(sequences.error().what == "sequences has 257 elements, more than the limit of 256");

  checkpoint_list records;
  records.records.resize(limits::runs_max + 1);
  const auto runs = wire::decode<run_list>(wire::encode(records)->words());
  BOOST_TEST_REQUIRE(!runs.has_value());
  BOOST_TEST((runs.error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(a_frame_over_the_limit_is_refused_unread) {
  const words large(limits::frame_bytes_max / sizeof(std::uint64_t) + 1);
  const auto decoded = wire::decode<done>(large);
  BOOST_TEST_REQUIRE(!decoded.has_value());
  BOOST_TEST((decoded.error().code == errc::invalid_argument));
}
