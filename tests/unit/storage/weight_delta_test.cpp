#include "storage/weight_delta.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>
#include <string_view>

#include <boost/test/unit_test.hpp>
#include <xxhash.h>

#include "messages/state_digest.hpp"
#include "storage/delta_format.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

using bits = std::vector<std::uint16_t>;

/// Two states of a few slices.
struct two_states {
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::pair<bits, bits>> slices;

  void add(std::uint32_t parameter, std::uint64_t begin, const bits& before, const bits& after) {
    slices[{parameter, begin}] = {before, after};
  }

  std::vector<slice_change> changes() const {
    std::vector<slice_change> list;
    for (const auto& [key, states] : slices)
      list.push_back({key.first, key.second, states.first, states.second});
    return list;
  }

  state_reader reader() {
    return [this](std::uint32_t parameter, std::uint64_t begin,
                  std::span<std::uint16_t> out) -> result<void> {
      auto found = slices.upper_bound({parameter, begin});
      BOOST_REQUIRE(found != slices.begin());
      --found;
      const bits& live = found->second.first;
      const std::uint64_t offset = begin - found->first.second;
      if (found->first.first != parameter || offset + out.size() > live.size())
        return fail(errc::wrong_base, "not held here");
      std::copy_n(live.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
      return {};
    };
  }

  void apply(const std::vector<decoded_chunk>& chunks) {
    for (const decoded_chunk& chunk : chunks) {
      for (std::size_t i = 0; i < chunk.elements.size(); ++i) {
        auto found = --slices.upper_bound({chunk.parameter, chunk.elements[i]});
        found->second.first[chunk.elements[i] - found->first.second] = chunk.bits[i];
      }
    }
  }

  bool is_after() const {
    return std::all_of(slices.begin(), slices.end(),
                       [](const auto& slice) { return slice.second.first == slice.second.second; });
  }
};

using bits_span = std::span<const std::uint16_t>;

/// The elements of a state of one parameter.
state_elements reaching(bits& state) {
  return [&state](std::uint32_t parameter, std::uint64_t begin,
                  std::uint64_t count) -> result<std::span<std::uint16_t>> {
    if (parameter != 0 || begin + count > state.size())
      return fail(errc::wrong_base, "not held here");
    return std::span(state).subspan(begin, count);
  };
}

bits random_bits(std::mt19937& random, std::size_t size) {
  bits values(size);
  for (auto& value : values)
    value = static_cast<std::uint16_t>(random());
  return values;
}

bits changed(std::mt19937& random, bits values, double share) {
  std::bernoulli_distribution changes(share);
  for (auto& value : values) {
    if (changes(random)) value = static_cast<std::uint16_t>(value + 1);
  }
  return values;
}

two_states small_states(std::mt19937& random, double share) {
  two_states states;
  for (const std::uint32_t parameter : {0U, 3U}) {
    for (const std::uint64_t begin : {0U, 5000U}) {
      const bits before = random_bits(random, 300);
      states.add(parameter, begin, before, changed(random, before, share));
    }
  }
  return states;
}

/// A chunk's place in an encoded file.
std::vector<std::span<const std::byte>> chunks_of(const std::vector<std::byte>& file) {
  std::vector<std::span<const std::byte>> chunks;
  std::span<const std::byte> rest(file);
  rest = rest.subspan(sizeof(delta_file_header));
  while (!rest.empty()) {
    chunks.push_back(rest.first(read_chunk(rest, delta_version).value().bytes));
    rest = rest.subspan(chunks.back().size());
  }
  return chunks;
}

std::vector<std::byte> join(const std::vector<std::byte>& file,
                            const std::vector<std::span<const std::byte>>& chunks) {
  auto header = read_file_header(file, file.size()).value();
  std::vector<std::byte> joined(sizeof header);
  for (const auto chunk : chunks)
    joined.insert(joined.end(), chunk.begin(), chunk.end());
  header.num_chunks = static_cast<std::uint32_t>(chunks.size());
  header.file_bytes = joined.size();
  seal(header);
  std::memcpy(joined.data(), &header, sizeof header);
  return joined;
}

}  // namespace

BOOST_AUTO_TEST_CASE(bulk_digests_are_the_elements_sums) {
  std::mt19937 random(1);
  for (const std::size_t size : {0U, 1U, 7U, 8U, 63U, 64U, 1000U}) {
    const bits before = random_bits(random, size);
    const bits after = random_bits(random, size);
    state_digest sum, next;
    std::vector<std::uint64_t> elements(size);
    for (std::size_t i = 0; i < size; ++i) {
      elements[i] = (std::uint64_t{1} << 39) + 3 * i;
      sum += element_digest(5, elements[i], before[i]);
      next += element_digest(5, elements[i], after[i]);
    }
    replace_elements(sum, 5, elements, before, after);
    BOOST_TEST((sum == next));
    state_digest bulk, single;
    add_elements(bulk, 9, 77, std::span<const std::uint16_t>(before));
    for (std::size_t i = 0; i < size; ++i)
      single += element_digest(9, 77 + i, before[i]);
    BOOST_TEST((bulk == single));
    BOOST_TEST(low_digest(9, 77, before) == single.low);
  }
}

BOOST_AUTO_TEST_CASE(a_delta_turns_one_state_into_the_other) {
  // DELTA-1, DELTA-2
  std::mt19937 random(2);
  for (const double share : {0.0, 0.001, 0.01, 0.2, 1.0}) {
    two_states states;
    const bits before = random_bits(random, 40'000);
    states.add(1, 100, before, changed(random, before, share));
    const bits norm = random_bits(random, 3);
    states.add(7, 0, norm, changed(random, norm, share));
    states.add(8, 0, {}, {});
    const auto encoded = encode_delta(states.changes()).value();
    BOOST_TEST(encoded.stats.num_elements == 40'003U);
    BOOST_TEST(encoded.stats.bytes == encoded.file.size());
    const std::size_t headers = sizeof(delta_file_header) + 2 * delta_chunk_header_bytes;
    BOOST_TEST(encoded.file.size() <= headers + 2 * 40'003);
    const auto chunks = decode_delta(encoded.file, states.reader()).value();
    states.apply(chunks);
    BOOST_TEST(states.is_after());
    const auto again = decode_delta(encoded.file, states.reader());
    BOOST_TEST(again.has_value() == (share == 0.0));
    if (!again) BOOST_TEST((again.error().code == errc::wrong_base));
  }
}

BOOST_AUTO_TEST_CASE(a_slice_of_several_chunks_comes_back_whole) {
  std::mt19937 random(3);
  two_states states;
  const bits before = random_bits(random, 2 * delta_chunk_elements + 17);
  bits after = changed(random, before, 0.001);
  after.back() = before.back() ^ 1U;
  states.add(0, 12345, before, after);
  const auto encoded = encode_delta(states.changes()).value();
  BOOST_TEST(chunks_of(encoded.file).size() == 3U);
  states.apply(decode_delta(encoded.file, states.reader()).value());
  BOOST_TEST(states.is_after());
}

BOOST_AUTO_TEST_CASE(another_base_is_refused) {
  std::mt19937 random(4);
  auto states = small_states(random, 0.1);
  const auto encoded = encode_delta(states.changes()).value();
  for (auto& [key, slice] : states.slices) {
    for (std::size_t i = 0; i < slice.first.size(); i += 37) {
      slice.first[i] ^= 0x8000;
      const auto decoded = decode_delta(encoded.file, states.reader());
      BOOST_REQUIRE(!decoded);
      BOOST_TEST((decoded.error().code == errc::wrong_base));
      slice.first[i] ^= 0x8000;
    }
  }
  BOOST_TEST(decode_delta(encoded.file, states.reader()).has_value());
}

BOOST_AUTO_TEST_CASE(damage_of_any_byte_is_refused) {
  std::mt19937 random(5);
  auto states = small_states(random, 0.05);
  const auto file = encode_delta(states.changes()).value().file;
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const unsigned flip : {0x01U, 0x80U, 0xffU}) {
      auto damaged = file;
      damaged[at] ^= static_cast<std::byte>(flip);
      const auto decoded = decode_delta(damaged, states.reader());
      BOOST_REQUIRE(!decoded);
      BOOST_TEST((decoded.error().code == errc::corrupt));
    }
  }
  for (std::size_t size = 0; size < file.size(); ++size)
    BOOST_REQUIRE(!decode_delta(std::span(file).first(size), states.reader()));
  auto longer = file;
  longer.push_back({});
  BOOST_TEST(!decode_delta(longer, states.reader()).has_value());
}

BOOST_AUTO_TEST_CASE(chunks_moved_repeated_or_left_out_are_refused) {
  std::mt19937 random(6);
  auto states = small_states(random, 0.1);
  const auto file = encode_delta(states.changes()).value().file;
  const auto chunks = chunks_of(file);
  BOOST_REQUIRE(chunks.size() == 4U);
  BOOST_TEST(decode_delta(join(file, chunks), states.reader()).has_value());
  auto swapped = chunks;
  std::swap(swapped[1], swapped[2]);
  auto repeated = chunks;
  repeated.insert(repeated.begin(), chunks[0]);
  auto left_out = chunks;
  left_out.pop_back();
  for (const auto& wrong : {swapped, repeated, left_out}) {
    const auto decoded = decode_delta(join(file, wrong), states.reader());
    BOOST_REQUIRE(!decoded);
    BOOST_TEST((decoded.error().code == errc::corrupt));
  }
}

BOOST_AUTO_TEST_CASE(a_chunk_that_lies_about_its_result_is_refused) {
  std::mt19937 random(7);
  two_states states;
  const bits before = random_bits(random, 100);
  states.add(0, 0, before, changed(random, before, 0.5));
  const auto file = encode_delta(states.changes()).value().file;
  const auto honest =
      read_chunk_header(std::span(file).subspan(sizeof(delta_file_header)), delta_version).value();
  for (int lie = 0; lie < 3; ++lie) {
    auto header = honest;
    if (lie == 0) header.after ^= 1;
    if (lie == 1) header.num_changed -= 1;
    if (lie == 2) header.num_elements -= 1;
    auto forged = file;
    const auto bytes = packed(header);
    std::copy(bytes.begin(), bytes.end(), forged.begin() + sizeof(delta_file_header));
    BOOST_TEST(!decode_delta(forged, states.reader()).has_value());
  }
}

BOOST_AUTO_TEST_CASE(impossible_slices_are_refused) {
  const bits four(4), three(3);
  const auto refused = [](const std::vector<slice_change>& changes) {
    const auto encoded = encode_delta(changes);
    return !encoded && encoded.error().code == errc::invalid_argument;
  };
  BOOST_TEST(refused({{0, 0, four, three}}));
  BOOST_TEST(refused({{0, 2, four, four}, {0, 0, four, four}}));
  BOOST_TEST(refused({{1U << 24, 0, four, four}}));
  BOOST_TEST(refused({{0, (std::uint64_t{1} << 40) - 3, four, four}}));
  BOOST_TEST(!refused({{0, 4, four, four}, {0, 0, four, four}}));
}

BOOST_AUTO_TEST_CASE(five_hundred_deltas_in_a_row_stay_exact) {
  // Both zeros, infinities, the least and the greatest denormals, NaNs quiet and signalling.
  constexpr std::array<std::uint16_t, 14> special = {0x0000, 0x8000, 0x7f80, 0xff80, 0x0001,
                                                     0x8001, 0x007f, 0x807f, 0x7fc0, 0xffc0,
                                                     0x7f81, 0xff81, 0x7fff, 0xffff};
  std::mt19937 random(8);
  two_states states;
  bits now = random_bits(random, 3000);
  std::copy(special.begin(), special.end(), now.begin());
  bits walked = now;
  delta_walk walk(reaching(walked));
  for (int step = 0; step < 500; ++step) {
    bits next = changed(random, now, 0.02);
    for (std::size_t i = 0; i < special.size(); ++i) {
      next[i] = special[(i + static_cast<std::size_t>(step)) % special.size()];
      next[100 + random() % 2900] = special[i];
    }
    states.add(0, 0, now, next);
    const auto encoded = encode_delta(states.changes()).value();
    states.apply(decode_delta(encoded.file, states.reader()).value());
    BOOST_REQUIRE(walk.apply(encoded.file).has_value());
    now = states.slices.begin()->second.first;
    BOOST_REQUIRE((now == next));
    BOOST_REQUIRE((walked == next));
  }
}

BOOST_AUTO_TEST_CASE(a_walk_refuses_what_a_single_delta_refuses) {
  std::mt19937 random(9);
  const bits first = random_bits(random, 5000);
  const bits second = changed(random, first, 0.02);
  const bits third = changed(random, second, 0.02);
  const auto delta = [](const bits& before, const bits& after, std::size_t begin, std::size_t end) {
    const std::vector<slice_change> change{{0, begin, std::span(before).subspan(begin, end - begin),
                                            std::span(after).subspan(begin, end - begin)}};
    return encode_delta(change).value().file;
  };
  const auto code = [&](const std::vector<std::vector<std::byte>>& files) {
    bits live = first;
    delta_walk walk(reaching(live));
    for (const auto& file : files)
      if (const auto done = walk.apply(file); !done) return done.error().code;
    return live == third ? errc::none : errc::internal;
  };
  const auto one = delta(first, second, 0, 5000);
  const auto two = delta(second, third, 0, 5000);
  BOOST_TEST((code({one, two}) == errc::none));
  BOOST_TEST((code({two}) == errc::wrong_base));
  BOOST_TEST((code({one, one}) == errc::wrong_base));
  BOOST_TEST((code({one, two, two}) == errc::wrong_base));
  // Other cuts of the model, as other numbers of ranks make them.
  const auto low = delta(second, third, 0, 1999);
  const auto high = delta(second, third, 1999, 5000);
  BOOST_TEST((code({one, low, high}) == errc::none));
  BOOST_TEST((code({one, high, low}) == errc::none));
  BOOST_TEST((code({one, low, two}) == errc::wrong_base));
  const auto inner = delta(first, second, 700, 1800);
  BOOST_TEST((code({inner, one}) == errc::wrong_base));
  const auto model_of_another_size = delta(bits(6000), bits(6000, 1), 0, 6000);
  BOOST_TEST((code({model_of_another_size}) == errc::wrong_base));
}

BOOST_AUTO_TEST_CASE(the_number_of_cores_changes_nothing) {
  std::mt19937 random(10);
  two_states states;
  for (std::uint32_t parameter = 0; parameter < 5; ++parameter) {
    const bits before = random_bits(random, 700'000 + parameter);
    states.add(parameter, 0, before, changed(random, before, parameter == 2 ? 0.9 : 0.01));
  }
  const auto alone = encode_delta(states.changes(), cores::one).value();
  BOOST_TEST((encode_delta(states.changes(), cores::all).value().file == alone.file));
  auto damaged = alone.file;
  damaged[damaged.size() / 2] ^= std::byte{4};
  const auto refused = decode_delta(damaged, states.reader(), cores::all);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error() == decode_delta(damaged, states.reader(), cores::one).error()));
  states.apply(decode_delta(alone.file, states.reader(), cores::all).value());
  BOOST_TEST(states.is_after());
}

namespace {

template <class T>
void put(std::vector<std::byte>& out, T value) {
  std::array<std::byte, sizeof value> raw;
  std::memcpy(raw.data(), &value, sizeof value);
  out.insert(out.end(), raw.begin(), raw.end());
}

/// A file as version 1 of docs/formats/delta.md lays it out, field after field.
std::vector<std::byte> as_version_1(const std::vector<std::byte>& file, const two_states& states) {
  const auto now = read_file_header(file, file.size()).value();
  std::vector<std::byte> chunks;
  for (const auto bytes : chunks_of(file)) {
    const auto [h, payload, size] = read_chunk(bytes, delta_version).value();
    BOOST_REQUIRE((h.codec != delta_codec::classed));
    const auto& [before, after] = states.slices.at({h.parameter, h.first_element});
    state_digest digest_before, digest_after;
    add_elements(digest_before, h.parameter, h.first_element, bits_span(before));
    add_elements(digest_after, h.parameter, h.first_element, bits_span(after));
    std::vector<std::byte> header;
    put(header, h.parameter);
    put(header, h.num_elements);
    put(header, h.first_element);
    put(header, h.num_changed);
    put(header, h.payload_bytes);
    for (const auto half : {digest_before.low, digest_before.high, digest_after.low,
                            digest_after.high, XXH3_64bits(payload.data(), payload.size())})
      put(header, std::uint64_t{half});
    put(header, static_cast<std::uint8_t>(h.codec));
    put(header, h.step_shift);
    header.resize(header.size() + 6);
    put(header, std::uint64_t{XXH3_64bits(header.data(), header.size())});
    chunks.insert(chunks.end(), header.begin(), header.end());
    chunks.insert(chunks.end(), payload.begin(), payload.end());
  }
  std::vector<std::byte> out;
  for (const char letter : std::string_view("TRPDELTA"))
    put(out, letter);
  put(out, std::uint32_t{1});
  put(out, now.num_chunks);
  put(out, now.num_elements);
  put(out, now.num_changed);
  put(out, std::uint64_t{48 + chunks.size()});
  put(out, std::uint64_t{XXH3_64bits(out.data(), out.size())});
  out.insert(out.end(), chunks.begin(), chunks.end());
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(files_of_version_1_are_read) {
  std::mt19937 random(11);
  // Few changes, many, and all: the codecs there were.
  for (const double share : {0.01, 0.2, 1.0}) {
    two_states states;
    for (const std::uint64_t begin : {0U, 9000U}) {
      const bits before = random_bits(random, 9000);
      bits after = changed(random, before, share);
      if (share == 1.0) after = random_bits(random, before.size());
      states.add(3, begin, before, after);
    }
    const auto file = as_version_1(encode_delta(states.changes()).value().file, states);
    const auto read = decode_delta(file, states.reader());
    BOOST_REQUIRE(read.has_value());
    auto applied = states;
    applied.apply(*read);
    BOOST_TEST(applied.is_after());
    for (std::size_t at = 0; at < file.size(); at += 1 + random() % 7) {
      auto damaged = file;
      damaged[at] ^= std::byte{0x10};
      BOOST_REQUIRE(!decode_delta(damaged, states.reader()));
    }
  }
}
