#include "storage/delta_chunk.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <set>

#include <boost/test/unit_test.hpp>

#include "storage/bit_stream.hpp"
#include "storage/delta_classed.hpp"
#include "storage/float_formats.hpp"

using namespace troupe::storage;

namespace {

using bits = std::vector<std::uint16_t>;

chunk_changes changes_between(const bits& before, const bits& after) {
  chunk_changes changes;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] == after[i]) continue;
    changes.positions.push_back(static_cast<std::uint32_t>(i));
    changes.before.push_back(before[i]);
    changes.after.push_back(after[i]);
  }
  return changes;
}

/// Round trip; answers the codec that was taken.
delta_codec check(const bits& before, const bits& after) {
  const chunk_changes changes = changes_between(before, after);
  BOOST_REQUIRE(!changes.positions.empty());
  chunk_changes room;
  const coded_chunk coded = encode_chunk(before, after, room);
  BOOST_REQUIRE(coded.payload.size() <= 2 * after.size());
  const std::uint32_t count = coded.num_changed;
  BOOST_REQUIRE(count == changes.positions.size());
  constexpr std::uint64_t first = 1000;
  decoded_changes decoded;
  const auto decode = [&](std::uint32_t num_changed) {
    return decode_chunk({coded.codec, coded.step_shift, first, num_changed}, coded.payload, before,
                        decoded);
  };
  BOOST_REQUIRE(!decode(count - 1));
  BOOST_REQUIRE(!decode(count + 1));
  BOOST_REQUIRE(decode(count));
  BOOST_REQUIRE(
      std::equal(decoded.elements.begin(), decoded.elements.end(), changes.positions.begin(),
                 changes.positions.end(),
                 [](auto element, auto position) { return element == first + position; }));
  BOOST_REQUIRE((decoded.after == changes.after));
  BOOST_REQUIRE((decoded.before == changes.before));
  return coded.codec;
}

bits every_pattern() {
  bits all(65536);
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  return all;
}

/// Zeros, infinities, NaNs of both kinds, denormals, the largest, one, and their negatives.
constexpr std::array<std::uint16_t, 16> special = {0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc1, 0xffc1,
                                                   0x7f81, 0xff81, 0x0001, 0x8001, 0x007f, 0x0080,
                                                   0x7f7f, 0xff7f, 0x3f80, 0xffff};

}  // namespace

BOOST_AUTO_TEST_CASE(ordinals_are_a_bijection_in_order_of_value) {
  std::vector<bool> seen(65536);
  for (const std::uint16_t pattern : every_pattern()) {
    const std::uint16_t ordinal = ordinal_of(pattern);
    BOOST_REQUIRE(from_ordinal(ordinal) == pattern);
    BOOST_REQUIRE(!seen[ordinal]);
    seen[ordinal] = true;
  }
  BOOST_TEST(ordinal_of(0x0000) == ordinal_of(0x8000) + 1);
  BOOST_TEST(ordinal_of(0x3f81) == ordinal_of(0x3f80) + 1);
  BOOST_TEST(ordinal_of(0xbf81) == ordinal_of(0xbf80) - 1);
}

BOOST_AUTO_TEST_CASE(every_pattern_changes_to_and_from_special_ones) {
  const bits all = every_pattern();
  for (const std::uint16_t pattern : special) {
    const bits constant(65536, pattern);
    check(all, constant);
    check(constant, all);
  }
}

BOOST_AUTO_TEST_CASE(every_pattern_takes_every_small_step) {
  const bits all = every_pattern();
  std::set<delta_codec> taken;
  for (const int step : {1, -1, 2, -2, 19, 20, 21, 40, -200, 5000}) {
    // All at once, and in turns of so few that steps are coded beside places.
    for (const std::size_t stride : {1U, 7U}) {
      for (std::size_t turn = 0; turn < stride; ++turn) {
        bits after = all;
        for (std::size_t i = turn; i < all.size(); i += stride)
          after[i] = from_ordinal(static_cast<std::uint16_t>(ordinal_of(all[i]) + step));
        taken.insert(check(all, after));
      }
    }
  }
  BOOST_TEST(taken.count(delta_codec::rice_ulp) == 1U);
  BOOST_TEST(taken.count(delta_codec::classed) == 1U);
}

BOOST_AUTO_TEST_CASE(random_changes_of_any_share_and_size_survive) {
  std::mt19937 random(7);
  std::set<delta_codec> taken;
  for (const double share : {0.001, 0.01, 0.2, 0.5, 1.0}) {
    for (const std::size_t size : {1U, 7U, 4095U, 4096U, 4097U, 20'000U}) {
      for (const int kind : {0, 1, 2}) {
        bits before(size);
        for (auto& pattern : before)
          pattern = static_cast<std::uint16_t>(random());
        bits after = before;
        std::bernoulli_distribution changes(share);
        for (auto& pattern : after) {
          if (!changes(random)) continue;
          if (kind == 0) pattern = static_cast<std::uint16_t>(random());
          if (kind == 1) pattern ^= static_cast<std::uint16_t>(1U << (random() % 3));
          if (kind == 2 && pattern != 0xffff) pattern = static_cast<std::uint16_t>(pattern + 1);
        }
        after[size / 2] = before[size / 2] ^ 1U;
        taken.insert(check(before, after));
      }
    }
  }
  BOOST_TEST(taken.size() >= 4U);
}

BOOST_AUTO_TEST_CASE(each_codec_is_taken_where_it_is_smallest) {
  bits before(delta_block_elements * 4, 0x3f80);
  bits after = before;
  for (std::size_t i = 0; i < after.size(); i += 50)
    after[i] = 0x3f81;
  BOOST_TEST((check(before, after) == delta_codec::rice_ulp));
  for (std::size_t i = 0; i < after.size(); i += 50)
    after[i] = 0xbf80 ^ 0x0001;
  BOOST_TEST((check(before, after) == delta_codec::set));
  std::mt19937 random(3);
  bits scattered = before;
  for (std::size_t i = 0; i < scattered.size(); i += 50)
    scattered[i] = static_cast<std::uint16_t>(scattered[i] ^ (1U << (random() % 16)));
  BOOST_TEST((check(before, scattered) == delta_codec::rice_xor));
  for (std::size_t i = 0; i < after.size(); ++i)
    after[i] = static_cast<std::uint16_t>(random() % 10 < 7 ? random() | 1U : 0x3f80);
  BOOST_TEST((check(before, after) == delta_codec::bitmap));
  for (auto& pattern : after)
    pattern = static_cast<std::uint16_t>(random());
  BOOST_TEST((check(before, after) == delta_codec::dense));
}

BOOST_AUTO_TEST_CASE(steps_that_depend_on_the_size_of_a_weight_are_classed) {
  // An optimizer's step: every weight moves by about the same distance, whatever its size.
  std::mt19937 random(9);
  std::normal_distribution<float> weights(0.0F, 0.02F);
  std::normal_distribution<float> steps(0.0F, 1e-3F);
  bits before(30'000);
  bits after(before.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    const float weight = weights(random);
    before[i] = bf16_from_float(weight);
    after[i] = bf16_from_float(weight + steps(random));
  }
  BOOST_TEST((check(before, after) == delta_codec::classed));
  for (std::size_t i = 0; i < special.size(); ++i)
    before[100 * i] = special[i];
  BOOST_TEST((check(before, after) == delta_codec::classed));
}

BOOST_AUTO_TEST_CASE(every_step_has_a_symbol) {
  const bits all = every_pattern();
  std::mt19937 random(13);
  bits after = all;
  for (int round = 0; round < 20; ++round) {
    std::shuffle(after.begin(), after.end(), random);
    const auto payload = encode_classed(all, after).payload;
    const auto count = static_cast<std::uint32_t>(changes_between(all, after).positions.size());
    decoded_changes decoded;
    BOOST_REQUIRE(decode_chunk({delta_codec::classed, 0, 0, count}, payload, all, decoded));
    bits rebuilt = all;
    for (std::size_t i = 0; i < count; ++i)
      rebuilt[decoded.elements[i]] = decoded.after[i];
    BOOST_REQUIRE((rebuilt == after));
  }
}

BOOST_AUTO_TEST_CASE(damaged_classes_are_decoded_or_refused) {
  std::mt19937 random(17);
  const bits before = every_pattern();
  bits after = before;
  std::shuffle(after.begin(), after.end(), random);
  const auto payload = encode_classed(before, after).payload;
  const auto count = static_cast<std::uint32_t>(changes_between(before, after).positions.size());
  decoded_changes decoded;
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    auto damaged = payload;
    damaged.resize(payload.size() - (round % 3 == 0 ? random() % payload.size() : 0));
    const std::size_t reach = round % 2 == 0 ? 80 : damaged.size();
    if (!damaged.empty())
      damaged[random() % std::min(reach, damaged.size())] ^= std::byte{1} << (random() % 8);
    if (!decode_chunk({delta_codec::classed, 0, 0, count}, damaged, before, decoded)) ++refused;
  }
  BOOST_TEST(refused > 0);
}

BOOST_AUTO_TEST_CASE(a_block_may_be_long_in_a_sparse_chunk) {
  bits before(delta_block_elements * 64, 0);
  bits after = before;
  std::mt19937 random(5);
  for (std::size_t i = 0; i < delta_block_elements; ++i)
    after[i] = static_cast<std::uint16_t>(random() | 0x4000U);
  BOOST_TEST((check(before, after) == delta_codec::set));
  after[after.size() - 1] = 1;
  check(before, after);
}

BOOST_AUTO_TEST_CASE(any_bytes_are_decoded_or_refused) {
  std::mt19937 random(11);
  const bits before(5000, 0x3f80);
  decoded_changes changes;
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> payload(random() % 64);
    for (auto& byte : payload)
      byte = static_cast<std::byte>(random() % 4 == 0 ? random() : 0);
    const auto codec = static_cast<delta_codec>(random() % num_delta_codecs);
    const auto shift = static_cast<std::uint8_t>(random() % (step_shift_max + 1));
    for (std::uint32_t count = 0; count < 40; ++count) {
      if (!decode_chunk({codec, shift, 0, count}, payload, before, changes)) continue;
      ++accepted;
      for (const std::uint64_t element : changes.elements)
        BOOST_REQUIRE(element < before.size());
    }
  }
  BOOST_TEST(accepted > 0);
}

BOOST_AUTO_TEST_CASE(bits_are_read_as_they_were_put) {
  std::vector<std::byte> buffer(4096 + 8);
  bit_writer out(buffer.data());
  for (unsigned i = 0; i < 200; ++i) {
    out.put_unary(i);
    out.put(i, 8);
  }
  bit_reader in({buffer.data(), (out.num_bits() + 7) / 8});
  for (unsigned i = 0; i < 200; ++i) {
    for (unsigned zeros = 0; zeros < i; ++zeros) {
      BOOST_REQUIRE((in.peek() & 1) == 0U);
      in.skip(1);
    }
    BOOST_REQUIRE((in.peek() & 1) == 1U);
    in.skip(1);
    BOOST_REQUIRE((in.peek() & 255) == i);
    in.skip(8);
  }
  in.skip(1000);
  BOOST_TEST(in.peek() == 0U);
}
