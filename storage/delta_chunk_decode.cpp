#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

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
static_assert(short_gap_bits + step_escape + value_bits <= bit_cursor::window);

/// Counts zeros up to the next one bit and takes both; a count no gap can have when there is none.
std::uint64_t take_long_unary(bit_cursor& in) {
  std::uint64_t zeros = 0;
  while (zeros <= delta_block_elements) {
    const std::uint64_t window = low_bits(in.peek(), bit_cursor::window - 1);
    if (window != 0) {
      const auto here = static_cast<unsigned>(std::countr_zero(window));
      in.skip(here + 1U);
      return zeros + here;
    }
    in.skip(bit_cursor::window - 1);
    zeros += bit_cursor::window - 1;
  }
  return zeros;
}

std::uint64_t take_long_gap(bit_cursor& in, unsigned shift) {
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

tl::unexpected<error> damaged_block() {
  return damaged_chunk("has a block that does not fit its length or its changes");
}

/// Blocks that are read side by side: each is a chain of steps that wait for one another.
constexpr std::size_t blocks_at_once = 4;

/// Walks through one block, from its first bit to its last.
template <class ReadValue>
class block_walk {
 public:
  /// False when the block cannot be one. `before` are its elements.
  [[nodiscard]] bool begin(bit_cursor in, std::uint64_t end,
                           std::span<const std::uint16_t> before) {
    shift_ = static_cast<unsigned>(low_bits(in.peek(), gap_shift_bits));
    in.skip(gap_shift_bits);
    in_ = in;
    end_ = end;
    before_ = before;
    next_ = 0;
    changes_.count = 0;
    return shift_ <= gap_shift_max && has_more();
  }

  [[nodiscard]] bool has_more() const { return in_.position() < end_; }
  [[nodiscard]] bool is_whole() const { return in_.position() == end_; }
  [[nodiscard]] const block_changes& changes() const { return changes_; }

  /// Reads one change; false when it is none of this block.
  [[nodiscard, gnu::always_inline]] bool step(const ReadValue& read) {
    std::uint64_t window = in_.peek();
    const auto zeros = static_cast<unsigned>(std::countr_zero(window | std::uint64_t{1} << 63));
    const unsigned gap_bits = zeros + 1 + shift_;
    if (gap_bits <= short_gap_bits) [[likely]] {
      window >>= zeros + 1;
      next_ += (std::uint64_t{zeros} << shift_) | low_bits(window, shift_);
      window >>= shift_;
      in_.skip(gap_bits);
    } else {
      next_ += take_long_gap(in_, shift_);
      window = in_.peek();
    }
    if (next_ >= before_.size()) return false;
    const std::uint16_t old = before_[next_];
    const read_value value = read(window, old);
    in_.skip(value.num_bits);
    if (value.after == old) return false;
    changes_.places[changes_.count] = static_cast<std::uint16_t>(next_);
    changes_.before[changes_.count] = old;
    changes_.after[changes_.count] = value.after;
    ++changes_.count;
    ++next_;
    return true;
  }

 private:
  bit_cursor in_;
  std::uint64_t end_ = 0;
  std::span<const std::uint16_t> before_;
  std::size_t next_ = 0;
  unsigned shift_ = 0;
  block_changes changes_;
};

/// All of them to their ends; false when one is not of this format.
template <class ReadValue>
bool walk(std::span<block_walk<ReadValue>> walks, const ReadValue& read) {
  const auto has_more = [](const auto& one) { return one.has_more(); };
  if (walks.size() == blocks_at_once) {
    while (std::ranges::all_of(walks, has_more)) {
      bool is_right = true;
      for (std::size_t i = 0; i < blocks_at_once; ++i)
        is_right = walks[i].step(read) && is_right;
      if (!is_right) return false;
    }
  }
  for (auto& one : walks) {
    while (one.has_more()) {
      if (!one.step(read)) return false;
    }
    if (!one.is_whole()) return false;
  }
  return true;
}

template <class ReadValue>
result<void> read_blocks(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                         const ReadValue& read, change_sink& sink) {
  const std::size_t num_blocks = (before.size() + delta_block_elements - 1) / delta_block_elements;
  const auto lengths = read_directory(payload, num_blocks);
  if (!lengths) return fail(lengths.error());
  const bit_reader in(payload.subspan(lengths->bytes));
  const auto walks = std::make_unique_for_overwrite<block_walk<ReadValue>[]>(blocks_at_once);
  std::array<std::size_t, blocks_at_once> firsts{};
  std::uint64_t end = 0;
  for (std::size_t b = 0; b < num_blocks;) {
    std::size_t count = 0;
    for (; b < num_blocks && count < blocks_at_once; ++b) {
      if (lengths->block_bits[b] == 0) continue;
      const std::uint64_t begin = end;
      end += lengths->block_bits[b];
      firsts[count] = b * delta_block_elements;
      const auto elements = before.subspan(
          firsts[count], std::min(delta_block_elements, before.size() - firsts[count]));
      if (end > in.num_bits() || !walks[count].begin(in.at(begin), end, elements))
        return damaged_block();
      ++count;
    }
    bool is_right = walk(std::span(walks.get(), count), read);
    for (std::size_t i = 0; i < count && is_right; ++i)
      is_right = sink.put_block(firsts[i], walks[i].changes());
    if (!is_right) return damaged_block();
  }
  if (in.num_bits() - end >= 8 || low_bits(in.at(end).peek(), 8) != 0)
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
