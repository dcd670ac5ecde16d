// Streams in chunks: nothing lost, nothing doubled, bounds, and what joins them again; the shelf of
// adapters.

#include "actors/logic/sample_stream.hpp"

#include <algorithm>
#include <random>

#include <boost/test/unit_test.hpp>

#include "actors/logic/adapter_shelf.hpp"
#include "actors/logic/sequence_parts.hpp"
#include "config/limits.hpp"

namespace troupe::logic {
namespace {

scored_token some_token(std::mt19937& random) {
  scored_token out;
  out.token = static_cast<token_id>(random() % 1000);
  out.logprob = -static_cast<float>(random() % 100);
  out.raw_logprob = out.logprob - 1;
  out.sampling_logprob = out.logprob + 1;
  out.topk = {2, {out.token, 1}, {out.logprob, -50}};
  return out;
}

checkpoint_id named(char letter) {
  return checkpoint_id{std::string(64, letter)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sample_stream_test)

BOOST_AUTO_TEST_CASE(chunks_put_together_are_the_answer) {
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    const std::uint32_t num_samples = 1 + static_cast<std::uint32_t>(random() % 5);
    sampling_params params;
    params.with_other_logprobs = seed % 2 == 0;
    params.topk_logprobs = seed % 3 == 0 ? 2 : 0;
    sample_stream stream(num_samples);
    sample_reply expected;
    expected.sequences.resize(num_samples);
    sample_reply joined;
    stream.set_prompt({-1, -2}, {}, 7, {-3, -4});
    expected.prompt_logprobs = {-1, -2};
    expected.prompt_target_logprobs = {-3, -4};
    expected.cached_prompt_tokens = 7;
    std::vector<std::size_t> left(num_samples);
    for (auto& each : left)
      each = 1 + random() % 3000;
    std::uint64_t version = 1;
    std::uint64_t chunks = 0;
    while (!stream.is_over()) {
      for (std::uint32_t i = 0; i < num_samples; ++i) {
        if (left[i] == 0) continue;
        if (random() % 700 == 0) ++version;
        const auto token = some_token(random);
        const bool is_last = --left[i] == 0;
        const auto finished = is_last ? std::optional(stop_reason::stop) : std::nullopt;
        stream.add_token(i, token, version, params, finished);
        append_token(expected.sequences[i], token, version, params);
        if (is_last) expected.sequences[i].reason = stop_reason::stop;
      }
      const bool is_all_decoded = std::ranges::all_of(left, [](std::size_t n) { return n == 0; });
      while (stream.has_news() && (is_all_decoded || random() % 900 == 0)) {
        const auto chunk = stream.take();
        BOOST_REQUIRE(chunk.chunk == chunks++);
        std::size_t size = 0;
        for (const auto& part : chunk.part.sequences)
          size += part.tokens.size();
        BOOST_REQUIRE(size >= 1 && size <= limits::stream_chunk_tokens_max);
        append_chunk(joined, chunk);
        BOOST_TEST(chunk.is_last == stream.is_over());
      }
    }
    BOOST_TEST((joined == expected));
  }
}

BOOST_AUTO_TEST_CASE(a_stream_is_full_until_half_was_read) {
  std::mt19937 random(1);
  sample_stream stream(1);
  std::size_t size = 0;
  for (; !stream.is_full(); ++size)
    stream.add_token(0, some_token(random), 1, {}, std::nullopt);
  BOOST_TEST(size == limits::stream_ahead_tokens_max);
  BOOST_TEST(!stream.has_room());
  (void)stream.take();
  BOOST_TEST(!stream.is_full());
  BOOST_TEST(!stream.has_room());
  (void)stream.take();
  BOOST_TEST(stream.has_room());
  BOOST_TEST(stream.num_unread() == limits::stream_ahead_tokens_max / 2);
}

BOOST_AUTO_TEST_CASE(no_sample_of_a_stream_starves) {
  std::mt19937 random(1);
  sample_stream stream(3);
  for (std::uint32_t sample = 0; sample < 3; ++sample)
    for (std::size_t i = 0; i < limits::stream_chunk_tokens_max; ++i)
      stream.add_token(sample, some_token(random), 1, {}, std::nullopt);
  std::vector<std::size_t> seen(3);
  for (int i = 0; i < 3; ++i) {
    const auto chunk = stream.take();
    for (std::size_t sample = 0; sample < 3; ++sample)
      seen[sample] += chunk.part.sequences[sample].tokens.size();
  }
  for (const std::size_t size : seen)
    BOOST_TEST(size == limits::stream_chunk_tokens_max);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(adapter_shelf_test)

BOOST_AUTO_TEST_CASE(idle_adapters_make_room_the_oldest_first) {
  adapter_shelf shelf(100, 10);
  for (const char letter : {'a', 'b', 'c'}) {
    BOOST_TEST(shelf.add(named(letter), 30)->empty());
    shelf.unpin(named(letter));
  }
  shelf.pin(named('a'));
  shelf.unpin(named('a'));
  const auto gone = shelf.add(named('d'), 40);
  BOOST_REQUIRE(gone.has_value());
  BOOST_TEST((*gone == std::vector{named('b')}));
  BOOST_TEST(shelf.num_bytes() == 100U);
}

BOOST_AUTO_TEST_CASE(pinned_adapters_stay) {
  adapter_shelf shelf(100, 10);
  BOOST_REQUIRE(shelf.add(named('a'), 60).has_value());
  const auto refused = shelf.add(named('b'), 60);
  BOOST_TEST((refused.error().code == errc::busy));
  BOOST_TEST(shelf.has(named('a')));
  BOOST_TEST(!shelf.has(named('b')));
  shelf.unpin(named('a'));
  BOOST_TEST(shelf.add(named('b'), 60).has_value());
  BOOST_TEST(!shelf.has(named('a')));
  BOOST_TEST((shelf.add(named('c'), 101).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(the_number_of_adapters_is_bounded_too) {
  adapter_shelf shelf(100, 2);
  for (const char letter : {'a', 'b'})
    BOOST_REQUIRE(shelf.add(named(letter), 1).has_value());
  BOOST_TEST((shelf.add(named('c'), 1).error().code == errc::busy));
  shelf.unpin(named('a'));
  BOOST_TEST(shelf.add(named('c'), 1).has_value());
  BOOST_TEST(shelf.num_adapters() == 2U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
