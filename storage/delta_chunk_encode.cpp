#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "storage/bit_stream.hpp"
#include "storage/delta_classed.hpp"
#include "storage/delta_rows.hpp"

namespace troupe::storage {

namespace {

constexpr unsigned gap_shift_bits = 4;
constexpr unsigned gap_shift_max = 12;
constexpr unsigned value_bits = 16;
constexpr unsigned xor_class_bits = 4;
// Lengths from here on take a second directory entry.
constexpr std::uint64_t long_block_bits = 0x8000;
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

std::uint64_t xor_cost(std::uint32_t flipped) {
  return xor_class_bits + static_cast<std::uint64_t>(std::bit_width(flipped)) - 1;
}

std::uint64_t directory_bytes(std::uint64_t block_bits) {
  return block_bits < long_block_bits ? 2 : 4;
}

/// Grows the lists by room for `more` changes behind the first `held`. What was room before is not
/// cleared again.
void make_room(chunk_changes& changes, std::size_t held, std::size_t more) {
  changes.positions.resize(held + more);
  changes.before.resize(held + more);
  changes.after.resize(held + more);
}

/// Collects where two spans of one length differ.
void find_changes(std::span<const std::uint16_t> before, std::span<const std::uint16_t> after,
                  chunk_changes& changes) {
  std::size_t held = 0;
  for (std::size_t begin = 0; begin < before.size(); begin += delta_block_elements) {
    const std::size_t count = std::min(delta_block_elements, before.size() - begin);
    make_room(changes, held, count + row_slack);
    held += changed_of_row({before.data() + begin, after.data() + begin, count},
                           static_cast<std::uint32_t>(begin),
                           {changes.positions.data() + held, changes.before.data() + held,
                            changes.after.data() + held});
  }
  make_room(changes, held, 0);
}

/// Bytes that no codec of blocks goes below: one bit for each gap, and values of the least
/// distances. Bits flip at least up to the highest one of a distance. That it is far above what
/// classes take is the rule where they are tried, and spares counting the others exactly.
std::uint64_t blocks_bytes_min(std::span<const counted_step> steps) {
  std::uint64_t gaps = 0;
  std::uint64_t flips = 0;
  std::array<std::uint64_t, step_shift_max + 1> ulps{};
  for (const counted_step& step : steps) {
    gaps += step.count;
    flips += step.count * xor_cost(step.distance_min + 1);
    for (unsigned shift = 0; shift <= step_shift_max; ++shift)
      ulps[shift] += step.count * step_cost(step.distance_min, shift);
  }
  const std::uint64_t sets = gaps * value_bits;
  return (gaps + std::min({flips, sets, *std::ranges::min_element(ulps)})) / 8;
}

class chunk_encoder {
 public:
  chunk_encoder(std::span<const std::uint16_t> before, std::span<const std::uint16_t> after,
                chunk_changes& changes)
      : changes_(changes), before_(before), after_(after) {}

  coded_chunk encode() {
    const std::size_t count = count_changed({before_.data(), after_.data(), before_.size()});
    coded_chunk coded;
    coded.num_changed = static_cast<std::uint32_t>(count);
    if (count == 0) return coded;
    const std::uint64_t dense = 2 * std::uint64_t{after_.size()};
    const std::uint64_t bitmap = (after_.size() + 7) / 8 + 2 * count;
    // With fewer changes a symbol for every element costs more than their places.
    classed_chunk classed;
    if (is_dense(count, after_.size())) {
      classed = encode_classed(before_, after_);
      const std::uint64_t others = std::min({dense, bitmap, blocks_bytes_min(classed.steps)});
      if (classed.payload.size() < others) return with_classes(coded, classed);
    }
    find_changes(before_, after_, changes_);
    plan_blocks();
    count_values();
    step_shift_ = best_step_shift();
    measure();
    const std::array<std::pair<std::uint64_t, delta_codec>, 5> sizes = {
        {{dense, delta_codec::dense},
         {bitmap, delta_codec::bitmap},
         {ulp_bytes_, delta_codec::rice_ulp},
         {xor_bytes_, delta_codec::rice_xor},
         {set_bytes_, delta_codec::set}}};
    const auto best = std::min_element(sizes.begin(), sizes.end());
    if (!classed.payload.empty() && classed.payload.size() < best->first)
      return with_classes(coded, classed);
    coded.codec = best->second;
    if (coded.codec == delta_codec::rice_ulp)
      coded.step_shift = static_cast<std::uint8_t>(step_shift_);
    coded.payload.resize(best->first);
    write(coded);
    return coded;
  }

 private:
  static coded_chunk with_classes(coded_chunk& coded, classed_chunk& classed) {
    coded.codec = delta_codec::classed;
    coded.payload = std::move(classed.payload);
    return std::move(coded);
  }

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

  void count_values() {
    steps_.assign(steps_counted + 1, 0);
    std::size_t farthest = 0;
    for (std::size_t i = 0; i < changes_.positions.size(); ++i) {
      const std::size_t distance =
          std::min<std::size_t>(distance_of(changes_.before[i], changes_.after[i]), steps_counted);
      farthest = std::max(farthest, distance);
      ++steps_[distance];
      ++flips_[static_cast<unsigned>(std::bit_width(flipped(i)))];
    }
    steps_.resize(farthest + 1);
  }

  std::uint64_t ulp_value_bits(unsigned shift) const {
    std::uint64_t bits = 0;
    for (std::uint32_t distance = 0; distance < steps_.size(); ++distance)
      bits += steps_[distance] * step_cost(distance, shift);
    return bits;
  }

  unsigned best_step_shift() const {
    std::uint64_t best_bits = ~std::uint64_t{0};
    unsigned best = 0;
    for (unsigned shift = 0; shift <= step_shift_max; ++shift) {
      const std::uint64_t bits = ulp_value_bits(shift);
      if (bits < best_bits) {
        best_bits = bits;
        best = shift;
      }
    }
    return best;
  }

  std::uint32_t flipped(std::size_t i) const {
    return std::uint32_t{changes_.before[i]} ^ changes_.after[i];
  }

  void measure() {
    std::uint64_t gap_bits = 0;
    for (const block_plan& block : blocks_) {
      gap_bits += block.gap_bits;
      measure_directory(block);
    }
    std::uint64_t flip_bits = 0;
    for (unsigned width = 1; width < flips_.size(); ++width)
      flip_bits += flips_[width] * xor_cost(1U << (width - 1));
    const std::uint64_t set_bits = value_bits * std::uint64_t{changes_.positions.size()};
    ulp_bytes_ += (gap_bits + ulp_value_bits(step_shift_) + 7) / 8;
    xor_bytes_ += (gap_bits + flip_bits + 7) / 8;
    set_bytes_ += (gap_bits + set_bits + 7) / 8;
  }

  /// Blocks long enough for a second entry are rare; only those that may be are measured.
  void measure_directory(const block_plan& block) {
    const std::size_t count = block.last - block.first;
    std::uint64_t ulp = block.gap_bits;
    std::uint64_t flips = block.gap_bits;
    const std::uint64_t set = block.gap_bits + value_bits * count;
    if (block.gap_bits + (step_escape + value_bits) * count >= long_block_bits) {
      for (std::size_t i = block.first; i < block.last; ++i) {
        ulp += step_cost(distance_of(changes_.before[i], changes_.after[i]), step_shift_);
        flips += xor_cost(flipped(i));
      }
    }
    ulp_bytes_ += directory_bytes(ulp);
    xor_bytes_ += directory_bytes(flips);
    set_bytes_ += directory_bytes(set);
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
    const std::uint32_t flips = flipped(i);
    const auto below = static_cast<unsigned>(std::bit_width(flips)) - 1;
    out.put(below, xor_class_bits);
    out.put(flips & ((1U << below) - 1), below);
  }

  chunk_changes& changes_;
  std::span<const std::uint16_t> before_;
  std::span<const std::uint16_t> after_;
  std::vector<block_plan> blocks_;
  std::vector<std::uint32_t> steps_;                   ///< by distance, the last one or more
  std::array<std::uint32_t, value_bits + 1> flips_{};  ///< by the width of what flips
  unsigned step_shift_ = 0;
  std::uint64_t ulp_bytes_ = 0;
  std::uint64_t xor_bytes_ = 0;
  std::uint64_t set_bytes_ = 0;
};

}  // namespace

coded_chunk encode_chunk(std::span<const std::uint16_t> before,
                         std::span<const std::uint16_t> after, chunk_changes& changes) {
  return chunk_encoder(before, after, changes).encode();
}

}  // namespace troupe::storage
