#include <algorithm>
#include <bit>
#include <cstring>

#include "storage/bit_stream.hpp"
#include "storage/delta_change_sink.hpp"
#include "storage/delta_classed.hpp"

namespace troupe::storage {

namespace {

constexpr unsigned gap_shift_bits = 4;
constexpr unsigned gap_shift_max = 12;
constexpr unsigned value_bits = 16;
constexpr unsigned xor_class_bits = 4;
constexpr std::uint32_t long_block_bits = 0x8000;

std::uint16_t load16(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint16_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

constexpr std::uint64_t low_bits(std::uint64_t word, unsigned count) {
  return word & ((std::uint64_t{1} << count) - 1);
}

// A gap that takes no more leaves room in the same window for any value.
constexpr unsigned short_gap_bits = 21;
static_assert(short_gap_bits + step_escape + value_bits <= bit_reader::window);

/// Counts zeros up to the next one bit and takes both; a count no gap can have when there is none.
std::uint64_t take_long_unary(bit_reader& in) {
  std::uint64_t zeros = 0;
  while (zeros <= delta_block_elements) {
    const std::uint64_t window = low_bits(in.peek(), bit_reader::window - 1);
    if (window != 0) {
      const auto here = static_cast<unsigned>(std::countr_zero(window));
      in.skip(here + 1U);
      return zeros + here;
    }
    in.skip(bit_reader::window - 1);
    zeros += bit_reader::window - 1;
  }
  return zeros;
}

std::uint64_t take_long_gap(bit_reader& in, unsigned shift) {
  const std::uint64_t many = take_long_unary(in);
  const std::uint64_t rest = low_bits(in.peek(), shift);
  in.skip(shift);
  return (many << shift) | rest;
}

/// New bits of one element, and how many bits of the window said so.
struct read_value {
  std::uint16_t after;
  unsigned num_bits;
};

/// The new bits out of a step; the old ones, which no valid chunk can mean, for a step off the end.
struct step_reader {
  unsigned shift;

  read_value operator()(std::uint64_t window, std::uint16_t before) const {
    const auto zeros = static_cast<unsigned>(std::countr_zero(window | std::uint64_t{1} << 63));
    if (zeros >= step_escape) [[unlikely]]
      return {static_cast<std::uint16_t>(window >> step_escape), step_escape + value_bits};
    const std::uint64_t rest = window >> (zeros + 1);
    const std::uint32_t distance =
        ((zeros << shift) | static_cast<std::uint32_t>(low_bits(rest, shift))) + 1;
    const auto down = static_cast<std::uint32_t>((rest >> shift) & 1);
    const std::uint32_t to = ordinal_of(before) + ((distance ^ (0 - down)) + down);
    const std::uint16_t after =
        to <= 0xffff ? from_ordinal(static_cast<std::uint16_t>(to)) : before;
    return {after, zeros + 2U + shift};
  }
};

struct flip_reader {
  read_value operator()(std::uint64_t window, std::uint16_t before) const {
    const auto below = static_cast<unsigned>(low_bits(window, xor_class_bits));
    const std::uint64_t flipped =
        (std::uint64_t{1} << below) | low_bits(window >> xor_class_bits, below);
    return {static_cast<std::uint16_t>(before ^ flipped), xor_class_bits + below};
  }
};

struct value_reader {
  read_value operator()(std::uint64_t window, std::uint16_t) const {
    return {static_cast<std::uint16_t>(window), value_bits};
  }
};

/// Bit lengths of the blocks, and how many bytes say so.
struct directory {
  std::vector<std::uint32_t> block_bits;
  std::size_t bytes = 0;
};

result<directory> read_directory(std::span<const std::byte> payload, std::size_t num_blocks) {
  directory read;
  read.block_bits.reserve(num_blocks);
  for (std::size_t b = 0; b < num_blocks; ++b) {
    if (payload.size() - read.bytes < 2) return damaged_chunk("ends inside its directory");
    std::uint32_t bits = load16(payload, read.bytes);
    read.bytes += 2;
    if (bits >= long_block_bits) {
      if (payload.size() - read.bytes < 2) return damaged_chunk("ends inside its directory");
      bits = (bits & (long_block_bits - 1)) | (std::uint32_t{load16(payload, read.bytes)} << 15);
      read.bytes += 2;
    }
    read.block_bits.push_back(bits);
  }
  return read;
}

/// One block from `in` to bit `end`; its elements are [first, last).
template <class ReadValue>
bool read_block(bit_reader& in, std::uint64_t end, std::size_t first,
                std::span<const std::uint16_t> before, const ReadValue& read, change_sink& sink) {
  const auto shift = static_cast<unsigned>(low_bits(in.peek(), gap_shift_bits));
  in.skip(gap_shift_bits);
  if (shift > gap_shift_max || in.position() >= end) return false;
  const std::size_t last = std::min(first + delta_block_elements, before.size());
  std::size_t next = first;
  while (in.position() < end) {
    std::uint64_t window = in.peek();
    const auto zeros = static_cast<unsigned>(std::countr_zero(window | std::uint64_t{1} << 63));
    const unsigned gap_bits = zeros + 1 + shift;
    if (gap_bits <= short_gap_bits) [[likely]] {
      window >>= zeros + 1;
      next += (std::uint64_t{zeros} << shift) | low_bits(window, shift);
      window >>= shift;
      in.skip(gap_bits);
    } else {
      next += take_long_gap(in, shift);
      window = in.peek();
    }
    if (next >= last) return false;
    const std::uint16_t old = before[next];
    const read_value value = read(window, old);
    in.skip(value.num_bits);
    if (!sink.put(next, old, value.after)) return false;
    ++next;
  }
  return in.position() == end;
}

template <class ReadValue>
result<void> read_blocks(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                         const ReadValue& read, change_sink& sink) {
  const std::size_t num_blocks = (before.size() + delta_block_elements - 1) / delta_block_elements;
  const auto lengths = read_directory(payload, num_blocks);
  if (!lengths) return fail(lengths.error());
  bit_reader in(payload.subspan(lengths->bytes));
  for (std::size_t b = 0; b < num_blocks; ++b) {
    if (lengths->block_bits[b] == 0) continue;
    const std::uint64_t end = in.position() + lengths->block_bits[b];
    const bool whole =
        end <= in.num_bits() && read_block(in, end, b * delta_block_elements, before, read, sink);
    if (!whole) return damaged_chunk("has a block that does not fit its length or its changes");
  }
  if (in.num_bits() - in.position() >= 8 || low_bits(in.peek(), 8) != 0)
    return damaged_chunk("has bytes behind its last block");
  return {};
}

result<void> read_dense(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                        change_sink& sink) {
  if (payload.size() != before.size_bytes())
    return damaged_chunk("has another length than its elements");
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::uint16_t after = load16(payload, 2 * i);
    if (after != before[i] && !sink.put(i, before[i], after))
      return damaged_chunk("changes more than it says");
  }
  return {};
}

result<void> read_bitmap(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                         change_sink& sink) {
  const std::size_t map_bytes = (before.size() + 7) / 8;
  if (payload.size() < map_bytes) return damaged_chunk("ends inside its bitmap");
  const std::span<const std::byte> values = payload.subspan(map_bytes);
  std::size_t used = 0;
  for (std::size_t byte = 0; byte < map_bytes; ++byte) {
    for (auto bits = std::to_integer<unsigned>(payload[byte]); bits != 0; bits &= bits - 1) {
      const std::size_t i = 8 * byte + static_cast<std::size_t>(std::countr_zero(bits));
      if (i >= before.size() || values.size() - used < 2)
        return damaged_chunk("has a wrong bitmap");
      if (!sink.put(i, before[i], load16(values, used)))
        return damaged_chunk("has a bitmap that marks what does not change");
      used += 2;
    }
  }
  if (used != values.size()) return damaged_chunk("has values that its bitmap does not announce");
  return {};
}

result<void> read_changes(const chunk_form& form, std::span<const std::byte> payload,
                          std::span<const std::uint16_t> before, change_sink& sink) {
  switch (form.codec) {
    case delta_codec::dense:
      return read_dense(payload, before, sink);
    case delta_codec::bitmap:
      return read_bitmap(payload, before, sink);
    case delta_codec::rice_ulp:
      return read_blocks(payload, before, step_reader{form.step_shift}, sink);
    case delta_codec::rice_xor:
      return read_blocks(payload, before, flip_reader{}, sink);
    case delta_codec::set:
      return read_blocks(payload, before, value_reader{}, sink);
    case delta_codec::classed:
      return read_classed(payload, before, sink);
  }
  return damaged_chunk("has an unknown codec");
}

}  // namespace

result<void> decode_chunk(const chunk_form& form, std::span<const std::byte> payload,
                          std::span<const std::uint16_t> before, decoded_changes& changes) {
  change_sink sink(form, changes);
  if (auto read = read_changes(form, payload, before, sink); !read) return read;
  if (!sink.finish()) return damaged_chunk("changes less than it says");
  return {};
}

}  // namespace troupe::storage
