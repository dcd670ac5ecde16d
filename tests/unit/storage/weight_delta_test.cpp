#include "storage/weight_delta.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include <boost/test/unit_test.hpp>

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
  for (const std::uint32_t parameter : {0, 3}) {
    for (const std::uint64_t begin : {0, 5000}) {
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
  for (const std::size_t size : {0, 1, 7, 8, 63, 64, 1000}) {
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
  std::mt19937 random(8);
  two_states states;
  bits now = random_bits(random, 3000);
  for (int step = 0; step < 500; ++step) {
    const bits next = changed(random, now, 0.02);
    states.add(0, 0, now, next);
    const auto encoded = encode_delta(states.changes()).value();
    states.apply(decode_delta(encoded.file, states.reader()).value());
    now = states.slices.begin()->second.first;
    BOOST_REQUIRE((now == next));
  }
}
