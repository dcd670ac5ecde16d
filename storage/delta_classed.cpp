#include "storage/delta_classed.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <numeric>

#include <zstd.h>

#include "storage/bit_stream.hpp"
#include "storage/delta_change_sink.hpp"

namespace troupe::storage {

namespace {

constexpr std::size_t num_exponents = 256;
constexpr std::size_t classes_max = 64;
// Fewer elements do not pay for a table of their own.
constexpr std::size_t class_elements_min = 1024;
constexpr std::size_t length_bytes = 3;
constexpr int zstd_level = 1;

constexpr unsigned first_wide = 129;        // symbol of the first step that needs more bits
constexpr std::uint32_t narrow_steps = 64;  // distances - 1 below this have a symbol each way
constexpr unsigned narrow_bits = 6;
constexpr unsigned num_symbols = 209;

std::size_t exponent_of(std::uint16_t bits) {
  return (bits >> 7) & 0xffU;
}

struct coded_step {
  std::uint8_t symbol = 0;
  unsigned num_bits = 0;  ///< that follow in the stream of wide steps
  std::uint32_t bits = 0;
};

coded_step code_of(std::uint16_t before, std::uint16_t after) {
  const std::int32_t step = std::int32_t{ordinal_of(after)} - std::int32_t{ordinal_of(before)};
  if (step == 0) return {};
  const std::uint32_t down = step < 0 ? 1 : 0;
  const auto distance = static_cast<std::uint32_t>(step < 0 ? -step : step) - 1;
  if (distance < narrow_steps) return {static_cast<std::uint8_t>(1 + 2 * distance + down), 0, 0};
  const auto width = static_cast<unsigned>(std::bit_width(distance)) - 1;
  const std::uint32_t quarter = (distance >> (width - 2)) & 3U;
  return {static_cast<std::uint8_t>(first_wide + 2 * (4 * (width - narrow_bits) + quarter) + down),
          width - 2, distance & ((1U << (width - 2)) - 1)};
}

/// Which class an exponent belongs to, from the first exponents of all classes.
using class_table = std::array<std::uint8_t, num_exponents>;

class_table classes_of(std::span<const std::uint8_t> first_exponents) {
  class_table table{};
  std::size_t current = 0;
  for (std::size_t exponent = 0; exponent < num_exponents; ++exponent) {
    while (current + 1 < first_exponents.size() && first_exponents[current + 1] <= exponent)
      ++current;
    table[exponent] = static_cast<std::uint8_t>(current);
  }
  return table;
}

using counts_by_class = std::array<std::size_t, classes_max>;

using counts_by_exponent = std::array<std::size_t, num_exponents>;

counts_by_exponent count_exponents(std::span<const std::uint16_t> before) {
  counts_by_exponent counts{};
  for (const std::uint16_t bits : before)
    ++counts[exponent_of(bits)];
  return counts;
}

counts_by_class count_classes(const class_table& table, const counts_by_exponent& by_exponent) {
  counts_by_class counts{};
  for (std::size_t exponent = 0; exponent < num_exponents; ++exponent)
    counts[table[exponent]] += by_exponent[exponent];
  return counts;
}

/// Neighbouring exponents share a class until it has enough elements.
std::vector<std::uint8_t> choose_classes(const counts_by_exponent& counts) {
  std::vector<std::uint8_t> first_exponents{0};
  std::size_t held = 0;
  std::size_t left = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  for (std::size_t exponent = 0; exponent < num_exponents; ++exponent) {
    if (held >= class_elements_min && left >= class_elements_min &&
        first_exponents.size() < classes_max) {
      first_exponents.push_back(static_cast<std::uint8_t>(exponent));
      held = 0;
    }
    held += counts[exponent];
    left -= counts[exponent];
  }
  return first_exponents;
}

/// Where each class begins among symbols that are sorted by class.
counts_by_class begins_of(const counts_by_class& counts) {
  counts_by_class begins{};
  for (std::size_t c = 1; c < classes_max; ++c)
    begins[c] = begins[c - 1] + counts[c - 1];
  return begins;
}

void put_length(std::vector<std::byte>& out, std::size_t length) {
  for (std::size_t i = 0; i < length_bytes; ++i)
    out.push_back(static_cast<std::byte>(length >> (8 * i)));
}

std::size_t take_length(std::span<const std::byte> bytes) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i)
    length |= std::to_integer<std::size_t>(bytes[i]) << (8 * i);
  return length;
}

/// One for all classes of a chunk: making one costs more than most classes do.
using packer = std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)>;
using unpacker = std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)>;

/// A class whose bytes do not shrink is stored as it is.
void put_class(const packer& zstd, std::vector<std::byte>& out,
               std::span<const std::uint8_t> symbols) {
  const std::size_t header = out.size();
  put_length(out, 0);
  const std::size_t begin = out.size();
  out.resize(begin + ZSTD_compressBound(symbols.size()));
  const std::size_t size = ZSTD_compressCCtx(zstd.get(), out.data() + begin, out.size() - begin,
                                             symbols.data(), symbols.size(), zstd_level);
  const bool shrinks = ZSTD_isError(size) == 0 && size < symbols.size();
  const std::size_t stored = shrinks ? size : symbols.size();
  if (!shrinks && !symbols.empty()) std::memcpy(out.data() + begin, symbols.data(), stored);
  out.resize(begin + stored);
  for (std::size_t i = 0; i < length_bytes; ++i)
    out[header + i] = static_cast<std::byte>(stored >> (8 * i));
}

/// The symbols of one class out of `bytes`.
bool take_class(const unpacker& zstd, std::span<const std::byte> bytes,
                std::span<std::uint8_t> symbols) {
  if (bytes.size() == symbols.size()) {
    if (!bytes.empty()) std::memcpy(symbols.data(), bytes.data(), bytes.size());
    return true;
  }
  return ZSTD_decompressDCtx(zstd.get(), symbols.data(), symbols.size(), bytes.data(),
                             bytes.size()) == symbols.size();
}

/// What a payload says before its stream of wide steps.
struct classed_payload {
  class_table table{};
  counts_by_class counts{};
  std::vector<std::uint8_t> symbols;  ///< sorted by class
  std::span<const std::byte> wide_steps;
};

result<classed_payload> read_classes(std::span<const std::byte> payload,
                                     std::span<const std::uint16_t> before) {
  if (payload.empty()) return damaged_chunk("ends before its classes");
  const auto num_classes = std::to_integer<std::size_t>(payload[0]);
  payload = payload.subspan(1);
  if (num_classes == 0 || num_classes > classes_max || payload.size() < num_classes)
    return damaged_chunk("ends inside its classes");
  std::vector<std::uint8_t> first_exponents(num_classes);
  std::memcpy(first_exponents.data(), payload.data(), num_classes);
  payload = payload.subspan(num_classes);
  const bool ascends = std::is_sorted(first_exponents.begin(), first_exponents.end(),
                                      [](auto a, auto b) { return a <= b; });
  if (first_exponents[0] != 0 || !ascends) return damaged_chunk("has classes out of order");
  classed_payload read;
  read.table = classes_of(first_exponents);
  read.counts = count_classes(read.table, count_exponents(before));
  read.symbols.resize(before.size());
  std::span<std::uint8_t> room(read.symbols);
  const unpacker zstd(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  for (std::size_t c = 0; c < num_classes; ++c) {
    if (payload.size() < length_bytes) return damaged_chunk("ends inside a class");
    const std::size_t length = take_length(payload);
    payload = payload.subspan(length_bytes);
    if (payload.size() < length) return damaged_chunk("ends inside a class");
    if (!take_class(zstd, payload.first(length), room.first(read.counts[c])))
      return damaged_chunk("has a class that cannot be unpacked");
    room = room.subspan(read.counts[c]);
    payload = payload.subspan(length);
  }
  read.wide_steps = payload;
  return read;
}

}  // namespace

std::vector<std::byte> encode_classed(std::span<const std::uint16_t> before,
                                      std::span<const std::uint16_t> after) {
  const counts_by_exponent exponents = count_exponents(before);
  const auto first_exponents = choose_classes(exponents);
  const class_table table = classes_of(first_exponents);
  const counts_by_class counts = count_classes(table, exponents);
  counts_by_class next = begins_of(counts);
  std::vector<std::uint8_t> symbols(before.size());
  std::vector<std::byte> wide(2 * before.size() + 16);
  bit_writer wide_steps(wide.data());
  for (std::size_t i = 0; i < before.size(); ++i) {
    const coded_step step = code_of(before[i], after[i]);
    symbols[next[table[exponent_of(before[i])]]++] = step.symbol;
    if (step.num_bits > 0) wide_steps.put(step.bits, step.num_bits);
  }
  std::vector<std::byte> payload{static_cast<std::byte>(first_exponents.size())};
  for (const std::uint8_t exponent : first_exponents)
    payload.push_back(std::byte{exponent});
  std::span<const std::uint8_t> rest(symbols);
  const packer zstd(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  for (std::size_t c = 0; c < first_exponents.size(); ++c) {
    put_class(zstd, payload, rest.first(counts[c]));
    rest = rest.subspan(counts[c]);
  }
  const auto wide_bytes = static_cast<std::ptrdiff_t>((wide_steps.num_bits() + 7) / 8);
  payload.insert(payload.end(), wide.begin(), wide.begin() + wide_bytes);
  return payload;
}

result<void> read_classed(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                          change_sink& sink) {
  const auto read = read_classes(payload, before);
  if (!read) return fail(read.error());
  counts_by_class next = begins_of(read->counts);
  bit_reader wide_steps(read->wide_steps);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::uint8_t symbol = read->symbols[next[read->table[exponent_of(before[i])]]++];
    if (symbol == 0) continue;
    if (symbol >= num_symbols) return damaged_chunk("has a step that means nothing");
    const unsigned code = symbol - (symbol < first_wide ? 1U : first_wide);
    std::uint32_t distance = code / 2;
    if (symbol >= first_wide) {
      const unsigned width = narrow_bits + code / 8;
      distance = ((4 + (code / 2) % 4) << (width - 2)) |
                 static_cast<std::uint32_t>(wide_steps.peek() & ((1U << (width - 2)) - 1));
      wide_steps.skip(width - 2);
      if (wide_steps.position() > wide_steps.num_bits())
        return damaged_chunk("ends inside its steps");
    }
    const std::uint32_t from = ordinal_of(before[i]);
    const std::uint32_t to = code % 2 != 0 ? from - distance - 1 : from + distance + 1;
    if (to > 0xffff || !sink.put(i, before[i], from_ordinal(static_cast<std::uint16_t>(to))))
      return damaged_chunk("has a step off the end, or more than it announces");
  }
  const std::uint64_t rest = wide_steps.num_bits() - wide_steps.position();
  if (rest >= 8 || (wide_steps.peek() & 0xffU) != 0)
    return damaged_chunk("has bytes behind its last step");
  return {};
}

}  // namespace troupe::storage
