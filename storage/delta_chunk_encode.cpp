#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "storage/bit_stream.hpp"
#include "storage/delta_classed.hpp"

namespace troupe::storage {

namespace {

constexpr unsigned gap_shift_bits = 4;
constexpr unsigned gap_shift_max = 12;
constexpr unsigned value_bits = 16;
constexpr unsigned xor_class_bits = 4;
// Lengths from here on take a second directory entry.
constexpr std::uint64_t long_block_bits = 0x8000;
// With fewer changes a symbol for every element costs more than their places.
constexpr std::size_t classed_share = 4;
constexpr std::size_t steps_counted = step_escape << step_shift_max;

/// Changes [first, last) of one block and what their gaps cost.
struct block_plan {
  std::size_t first = 0;
  std::size_t last = 0;
  unsigned gap_shift = 0;
  std::uint64_t gap_bits = 0;
};

std::int32_t step_of(std::uint16_t before, std::uint16_t after) {
  return std::int32_t{ordinal_of(after)} - std::int32_t{ordinal_of(before)};
}

std::uint32_t distance_of(std::uint16_t before, std::uint16_t after) {
  return static_cast<std::uint32_t>(std::abs(step_of(before, after))) - 1;
}

std::uint64_t step_cost(std::uint32_t distance, unsigned shift) {
  const std::uint32_t zeros = distance >> shift;
  return zeros < step_escape ? zeros + 1 + shift + 1 : step_escape + value_bits;
}

std::uint64_t xor_cost(std::uint16_t flipped) {
  return xor_class_bits + static_cast<std::uint64_t>(std::bit_width(flipped)) - 1;
}

std::uint64_t directory_bytes(std::uint64_t block_bits) {
  return block_bits < long_block_bits ? 2 : 4;
}

class chunk_encoder {
 public:
  chunk_encoder(const chunk_changes& changes, std::span<const std::uint16_t> before,
                std::span<const std::uint16_t> after)
      : changes_(changes), before_(before), after_(after) {}

  coded_chunk encode() {
    plan_blocks();
    step_shift_ = best_step_shift();
    const std::uint64_t dense = 2 * std::uint64_t{after_.size()};
    const std::uint64_t bitmap = (after_.size() + 7) / 8 + 2 * changes_.positions.size();
    measure();
    const std::array<std::pair<std::uint64_t, delta_codec>, 5> sizes = {
        {{dense, delta_codec::dense},
         {bitmap, delta_codec::bitmap},
         {ulp_bytes_, delta_codec::rice_ulp},
         {xor_bytes_, delta_codec::rice_xor},
         {set_bytes_, delta_codec::set}}};
    const auto best = std::min_element(sizes.begin(), sizes.end());
    if (changes_.positions.size() >= after_.size() / classed_share) {
      auto classed = encode_classed(before_, after_);
      if (classed.size() < best->first) return {delta_codec::classed, 0, std::move(classed)};
    }
    coded_chunk coded{best->second, 0, {}};
    if (coded.codec == delta_codec::rice_ulp)
      coded.step_shift = static_cast<std::uint8_t>(step_shift_);
    coded.payload.resize(best->first);
    write(coded);
    return coded;
  }

 private:
  void plan_blocks() {
    const std::size_t num_blocks =
        (after_.size() + delta_block_elements - 1) / delta_block_elements;
    blocks_.resize(num_blocks);
    std::size_t next = 0;
    for (std::size_t b = 0; b < num_blocks; ++b) {
      block_plan& block = blocks_[b];
      block.first = next;
      const std::size_t end = (b + 1) * delta_block_elements;
      while (next < changes_.positions.size() && changes_.positions[next] < end)
        ++next;
      block.last = next;
      if (block.first != block.last) choose_gap_shift(block, b);
    }
  }

  std::uint32_t gap(const block_plan& block, std::size_t b, std::size_t i) const {
    if (i == block.first)
      return changes_.positions[i] - static_cast<std::uint32_t>(b * delta_block_elements);
    return changes_.positions[i] - changes_.positions[i - 1] - 1;
  }

  /// The best shift is next to the logarithm of the mean gap, so only its neighbours are tried.
  void choose_gap_shift(block_plan& block, std::size_t b) {
    const std::uint64_t count = block.last - block.first;
    const std::uint64_t span =
        changes_.positions[block.last - 1] - b * delta_block_elements + 1 - count;
    const auto guess = static_cast<unsigned>(std::bit_width((span + count / 2) / count));
    const unsigned middle = std::clamp(guess, 2U, gap_shift_max - 1) - 1;
    std::array<std::uint64_t, 3> zeros{};
    for (std::size_t i = block.first; i < block.last; ++i) {
      const std::uint32_t g = gap(block, b, i);
      zeros[0] += g >> (middle - 1);
      zeros[1] += g >> middle;
      zeros[2] += g >> (middle + 1);
    }
    block.gap_bits = ~std::uint64_t{0};
    for (unsigned i = 0; i < zeros.size(); ++i) {
      const unsigned shift = middle - 1 + i;
      const std::uint64_t bits = zeros[i] + count * (1 + shift);
      if (bits < block.gap_bits) {
        block.gap_bits = bits;
        block.gap_shift = shift;
      }
    }
    block.gap_bits += gap_shift_bits;
  }

  unsigned best_step_shift() const {
    std::vector<std::uint32_t> counts(steps_counted + 1);
    for (std::size_t i = 0; i < changes_.positions.size(); ++i) {
      const std::uint32_t distance = distance_of(changes_.before[i], changes_.after[i]);
      ++counts[std::min<std::size_t>(distance, steps_counted)];
    }
    std::uint64_t best_bits = ~std::uint64_t{0};
    unsigned best = 0;
    for (unsigned shift = 0; shift <= step_shift_max; ++shift) {
      std::uint64_t bits = 0;
      for (std::uint32_t distance = 0; distance <= steps_counted; ++distance)
        bits += counts[distance] * step_cost(distance, shift);
      if (bits < best_bits) {
        best_bits = bits;
        best = shift;
      }
    }
    return best;
  }

  void measure() {
    std::uint64_t ulp_bits = 0;
    std::uint64_t xor_bits = 0;
    std::uint64_t set_bits = 0;
    for (const block_plan& block : blocks_) {
      std::uint64_t ulp = block.gap_bits;
      std::uint64_t flips = block.gap_bits;
      for (std::size_t i = block.first; i < block.last; ++i) {
        ulp += step_cost(distance_of(changes_.before[i], changes_.after[i]), step_shift_);
        flips += xor_cost(static_cast<std::uint16_t>(changes_.before[i] ^ changes_.after[i]));
      }
      const std::uint64_t set = block.gap_bits + value_bits * (block.last - block.first);
      ulp_bytes_ += directory_bytes(ulp);
      xor_bytes_ += directory_bytes(flips);
      set_bytes_ += directory_bytes(set);
      ulp_bits += ulp;
      xor_bits += flips;
      set_bits += set;
    }
    ulp_bytes_ += (ulp_bits + 7) / 8;
    xor_bytes_ += (xor_bits + 7) / 8;
    set_bytes_ += (set_bits + 7) / 8;
  }

  void write(coded_chunk& coded) const {
    switch (coded.codec) {
      case delta_codec::dense:
        std::memcpy(coded.payload.data(), after_.data(), coded.payload.size());
        return;
      case delta_codec::bitmap:
        return write_bitmap(coded.payload);
      case delta_codec::rice_ulp:
        return write_blocks(coded.payload,
                            [&](bit_writer& out, std::size_t i) { put_step(out, i); });
      case delta_codec::rice_xor:
        return write_blocks(coded.payload,
                            [&](bit_writer& out, std::size_t i) { put_flips(out, i); });
      case delta_codec::set:
        return write_blocks(coded.payload, [&](bit_writer& out, std::size_t i) {
          out.put(changes_.after[i], value_bits);
        });
      case delta_codec::classed:
        return;  // made before
    }
  }

  void write_bitmap(std::vector<std::byte>& payload) const {
    for (const std::uint32_t position : changes_.positions)
      payload[position / 8] |= std::byte{1} << (position % 8);
    const std::size_t values_bytes = 2 * changes_.after.size();
    std::memcpy(payload.data() + payload.size() - values_bytes, changes_.after.data(),
                values_bytes);
  }

  template <class PutValue>
  void write_blocks(std::vector<std::byte>& payload, const PutValue& put_value) const {
    std::vector<std::byte> stream(payload.size() + sizeof(std::uint64_t));
    bit_writer out(stream.data());
    std::size_t directory = 0;
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const block_plan& block = blocks_[b];
      const std::uint64_t begin = out.num_bits();
      if (block.first != block.last) out.put(block.gap_shift, gap_shift_bits);
      for (std::size_t i = block.first; i < block.last; ++i) {
        const std::uint32_t g = gap(block, b, i);
        out.put_unary(g >> block.gap_shift);
        out.put(g & ((1U << block.gap_shift) - 1), block.gap_shift);
        put_value(out, i);
      }
      directory += put_length(payload.data() + directory, out.num_bits() - begin);
    }
    std::memcpy(payload.data() + directory, stream.data(), payload.size() - directory);
  }

  static std::size_t put_length(std::byte* out, std::uint64_t bits) {
    const bool is_long = bits >= long_block_bits;
    const auto low = static_cast<std::uint16_t>(is_long ? bits | long_block_bits : bits);
    const auto high = static_cast<std::uint16_t>(bits >> 15);
    std::memcpy(out, &low, 2);
    if (is_long) std::memcpy(out + 2, &high, 2);
    return is_long ? 4 : 2;
  }

  void put_step(bit_writer& out, std::size_t i) const {
    const std::int32_t step = step_of(changes_.before[i], changes_.after[i]);
    const std::uint32_t distance = static_cast<std::uint32_t>(std::abs(step)) - 1;
    if ((distance >> step_shift_) >= step_escape) {
      out.put(0, step_escape);
      out.put(changes_.after[i], value_bits);
      return;
    }
    out.put_unary(distance >> step_shift_);
    out.put(distance & ((1U << step_shift_) - 1), step_shift_);
    out.put(step < 0 ? 1 : 0, 1);
  }

  void put_flips(bit_writer& out, std::size_t i) const {
    const std::uint32_t flipped = std::uint32_t{changes_.before[i]} ^ changes_.after[i];
    const auto below = static_cast<unsigned>(std::bit_width(flipped)) - 1;
    out.put(below, xor_class_bits);
    out.put(flipped & ((1U << below) - 1), below);
  }

  const chunk_changes& changes_;
  std::span<const std::uint16_t> before_;
  std::span<const std::uint16_t> after_;
  std::vector<block_plan> blocks_;
  unsigned step_shift_ = 0;
  std::uint64_t ulp_bytes_ = 0;
  std::uint64_t xor_bytes_ = 0;
  std::uint64_t set_bytes_ = 0;
};

}  // namespace

coded_chunk encode_chunk(const chunk_changes& changes, std::span<const std::uint16_t> before,
                         std::span<const std::uint16_t> after) {
  return chunk_encoder(changes, before, after).encode();
}

}  // namespace troupe::storage
