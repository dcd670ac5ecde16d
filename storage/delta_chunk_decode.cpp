#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "storage/bit_stream.hpp"
#include "storage/delta_chunk.hpp"

namespace troupe::storage {

namespace {

constexpr unsigned gap_shift_bits = 4;
constexpr unsigned gap_shift_max = 12;
constexpr unsigned value_bits = 16;
constexpr unsigned xor_class_bits = 4;
constexpr std::uint32_t long_block_bits = 0x8000;

tl::unexpected<error> damaged(const char* what) {
  return fail(errc::corrupt, std::string("a delta chunk ") + what,
              "the file is damaged or was not written as a delta",
              "sync from the base checkpoint again");
}

std::uint16_t load16(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint16_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

constexpr std::uint64_t low_bits(std::uint64_t word, unsigned count) {
  return word & ((std::uint64_t{1} << count) - 1);
}

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

std::uint32_t take_gap(bit_reader& in, unsigned shift) {
  const std::uint64_t window = in.peek();
  const auto zeros = static_cast<unsigned>(std::countr_zero(window));
  if (zeros + 1 + shift <= bit_reader::window) {
    in.skip(zeros + 1U + shift);
    return (zeros << shift) | static_cast<std::uint32_t>(low_bits(window >> zeros >> 1, shift));
  }
  const std::uint64_t many = take_long_unary(in);
  const std::uint64_t rest = low_bits(in.peek(), shift);
  in.skip(shift);
  return static_cast<std::uint32_t>((many << shift) | rest);
}

std::uint16_t take_value(bit_reader& in) {
  const auto value = static_cast<std::uint16_t>(in.peek());
  in.skip(value_bits);
  return value;
}

/// The new bits out of a step; the old ones, which no valid chunk can mean, for a step off the end.
struct step_reader {
  unsigned shift;

  std::uint16_t operator()(bit_reader& in, std::uint16_t before) const {
    const std::uint64_t window = in.peek();
    const auto zeros = static_cast<unsigned>(std::countr_zero(window));
    if (zeros >= step_escape) {
      in.skip(step_escape);
      return take_value(in);
    }
    const auto low = static_cast<std::uint32_t>(low_bits(window >> (zeros + 1), shift));
    const std::uint32_t distance = ((zeros << shift) | low) + 1;
    const bool down = ((window >> (zeros + 1 + shift)) & 1) != 0;
    in.skip(zeros + 2U + shift);
    const std::uint32_t from = ordinal_of(before);
    const std::uint32_t to = down ? from - distance : from + distance;
    return to <= 0xffff ? from_ordinal(static_cast<std::uint16_t>(to)) : before;
  }
};

struct flip_reader {
  std::uint16_t operator()(bit_reader& in, std::uint16_t before) const {
    const std::uint64_t window = in.peek();
    const auto below = static_cast<unsigned>(low_bits(window, xor_class_bits));
    const std::uint64_t flipped =
        (std::uint64_t{1} << below) | low_bits(window >> xor_class_bits, below);
    in.skip(xor_class_bits + below);
    return static_cast<std::uint16_t>(before ^ flipped);
  }
};

struct value_reader {
  std::uint16_t operator()(bit_reader& in, std::uint16_t) const { return take_value(in); }
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
    if (payload.size() - read.bytes < 2) return damaged("ends inside its directory");
    std::uint32_t bits = load16(payload, read.bytes);
    read.bytes += 2;
    if (bits >= long_block_bits) {
      if (payload.size() - read.bytes < 2) return damaged("ends inside its directory");
      bits = (bits & (long_block_bits - 1)) | (std::uint32_t{load16(payload, read.bytes)} << 15);
      read.bytes += 2;
    }
    read.block_bits.push_back(bits);
  }
  return read;
}

/// One block from `in` to bit `end`; its elements begin at `first`.
template <class ReadValue>
bool read_block(bit_reader& in, std::uint64_t end, std::size_t first,
                std::span<const std::uint16_t> before, const ReadValue& read_value,
                chunk_changes& changes) {
  const auto shift = static_cast<unsigned>(low_bits(in.peek(), gap_shift_bits));
  in.skip(gap_shift_bits);
  if (shift > gap_shift_max || in.position() >= end) return false;
  const std::size_t last = std::min(first + delta_block_elements, before.size());
  std::size_t next = first;
  while (in.position() < end) {
    next += take_gap(in, shift);
    if (next >= last) return false;
    const std::uint16_t old = before[next];
    changes.positions.push_back(static_cast<std::uint32_t>(next));
    changes.before.push_back(old);
    changes.after.push_back(read_value(in, old));
    ++next;
  }
  return in.position() == end;
}

template <class ReadValue>
result<void> read_blocks(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                         const ReadValue& read_value, chunk_changes& changes) {
  const std::size_t num_blocks = (before.size() + delta_block_elements - 1) / delta_block_elements;
  const auto lengths = read_directory(payload, num_blocks);
  if (!lengths) return fail(lengths.error());
  bit_reader in(payload.subspan(lengths->bytes));
  for (std::size_t b = 0; b < num_blocks; ++b) {
    if (lengths->block_bits[b] == 0) continue;
    const std::uint64_t end = in.position() + lengths->block_bits[b];
    const bool whole = end <= in.num_bits() &&
                       read_block(in, end, b * delta_block_elements, before, read_value, changes);
    if (!whole) return damaged("has a block that does not fit its length");
  }
  if (in.num_bits() - in.position() >= 8 || low_bits(in.peek(), 8) != 0)
    return damaged("has bytes behind its last block");
  return {};
}

result<void> read_dense(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                        chunk_changes& changes) {
  if (payload.size() != before.size_bytes()) return damaged("has another length than its elements");
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::uint16_t after = load16(payload, 2 * i);
    if (after == before[i]) continue;
    changes.positions.push_back(static_cast<std::uint32_t>(i));
    changes.before.push_back(before[i]);
    changes.after.push_back(after);
  }
  return {};
}

result<void> read_bitmap(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                         chunk_changes& changes) {
  const std::size_t map_bytes = (before.size() + 7) / 8;
  if (payload.size() < map_bytes) return damaged("ends inside its bitmap");
  const std::span<const std::byte> values = payload.subspan(map_bytes);
  std::size_t used = 0;
  for (std::size_t byte = 0; byte < map_bytes; ++byte) {
    for (auto bits = std::to_integer<unsigned>(payload[byte]); bits != 0; bits &= bits - 1) {
      const std::size_t i = 8 * byte + static_cast<std::size_t>(std::countr_zero(bits));
      if (i >= before.size() || values.size() - used < 2) return damaged("has a wrong bitmap");
      changes.positions.push_back(static_cast<std::uint32_t>(i));
      changes.before.push_back(before[i]);
      changes.after.push_back(load16(values, used));
      used += 2;
    }
  }
  if (used != values.size()) return damaged("has values that its bitmap does not announce");
  return {};
}

}  // namespace

result<void> decode_chunk(delta_codec codec, std::uint8_t step_shift,
                          std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                          chunk_changes& changes) {
  changes.clear();
  switch (codec) {
    case delta_codec::dense:
      return read_dense(payload, before, changes);
    case delta_codec::bitmap:
      return read_bitmap(payload, before, changes);
    case delta_codec::rice_ulp:
      return read_blocks(payload, before, step_reader{step_shift}, changes);
    case delta_codec::rice_xor:
      return read_blocks(payload, before, flip_reader{}, changes);
    case delta_codec::set:
      return read_blocks(payload, before, value_reader{}, changes);
  }
  return damaged("has an unknown codec");
}

}  // namespace troupe::storage
