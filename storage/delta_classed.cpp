#include "storage/delta_classed.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include <zstd.h>

#include "storage/bit_stream.hpp"
#include "storage/delta_change_sink.hpp"
#include "storage/delta_rows.hpp"

namespace troupe::storage {

namespace {

constexpr std::size_t num_exponents = 256;
constexpr std::size_t classes_max = 64;
// Fewer elements do not pay for a table of their own.
constexpr std::size_t class_elements_min = 1024;
constexpr std::size_t length_bytes = 3;
constexpr int zstd_level = 1;

constexpr unsigned first_wide = 129;  // symbol of the first step that needs more bits
constexpr unsigned narrow_bits = 6;   // of distances that have a symbol each way
constexpr unsigned num_symbols = 209;
constexpr std::size_t wide_step_bytes_max = 2;

std::size_t exponent_of(std::uint16_t bits) {
  return (bits >> 7) & 0xffU;
}

struct wide_step {
  std::uint8_t symbol = 0;
  unsigned num_bits = 0;  ///< that follow in the stream of wide steps
  std::uint32_t bits = 0;
};

/// Requires: a zigzag number that is no symbol.
wide_step wide_code_of(std::uint32_t zigzag) {
  const std::uint32_t down = (zigzag & 1) ^ 1;
  const std::uint32_t distance = (zigzag - 1) / 2;
  const auto width = static_cast<unsigned>(std::bit_width(distance)) - 1;
  const std::uint32_t quarter = (distance >> (width - 2)) & 3U;
  return {static_cast<std::uint8_t>(first_wide + 2 * (4 * (width - narrow_bits) + quarter) + down),
          width - 2, distance & ((1U << (width - 2)) - 1)};
}

/// The least distance that a symbol other than 0 stands for.
std::uint32_t distance_min_of(std::size_t symbol) {
  if (symbol < first_wide) return static_cast<std::uint32_t>(symbol - 1) / 2;
  const auto code = static_cast<std::uint32_t>(symbol) - first_wide;
  return (4 + (code / 2) % 4) << (narrow_bits - 2 + code / 8);
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

/// Counts in turn into several tables: neighbours are often alike, and the next count of a number
/// would wait for the last one to be stored.
template <class Value, class NumberOf>
std::array<std::size_t, 256> count_each(std::span<const Value> values, const NumberOf& number_of) {
  constexpr std::size_t num_tables = 4;
  std::array<std::array<std::uint32_t, 256>, num_tables> tables{};
  std::size_t i = 0;
  for (; i + num_tables <= values.size(); i += num_tables) {
    for (std::size_t t = 0; t < num_tables; ++t)
      ++tables[t][number_of(values[i + t])];
  }
  for (; i < values.size(); ++i)
    ++tables[0][number_of(values[i])];
  std::array<std::size_t, 256> counts{};
  for (const auto& table : tables) {
    for (std::size_t n = 0; n < counts.size(); ++n)
      counts[n] += table[n];
  }
  return counts;
}

counts_by_exponent count_exponents(std::span<const std::uint16_t> before) {
  return count_each(before, exponent_of);
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

using packer = std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)>;
using unpacker = std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)>;

/// One for all chunks of a thread: making one costs more than most classes do.
const packer& own_packer() {
  thread_local const packer zstd(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  return zstd;
}

const unpacker& own_unpacker() {
  thread_local const unpacker zstd(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  return zstd;
}

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
  const unpacker& zstd = own_unpacker();
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

/// Goes through the elements of a chunk and moves each by its step.
class step_walk {
 public:
  explicit step_walk(const classed_payload& read)
      : read_(read), next_(begins_of(read.counts)), wide_steps_(read.wide_steps) {}

  /// The next elements, of one block at most.
  result<void> move(std::span<const std::uint16_t> before, std::span<std::uint16_t> after) {
    wide_.clear();
    for (std::size_t i = 0; i < before.size(); ++i) {
      row_[i] = read_.symbols[next_[read_.table[exponent_of(before[i])]]++];
      if (row_[i] >= first_wide) [[unlikely]]
        wide_.push_back(static_cast<std::uint16_t>(i));
    }
    for (const std::uint16_t i : wide_) {
      const std::uint32_t zigzag = take_wide(std::exchange(row_[i], std::uint8_t{0}));
      const std::uint32_t to = moved_ordinal(before[i], zigzag);
      if (zigzag == 0 || to > 0xffff)
        return damaged_chunk("has a step that means nothing, is cut off or leads off the end");
      wide_bits_.push_back(from_ordinal(static_cast<std::uint16_t>(to)));
    }
    if (!move_row(before.data(), row_.data(), before.size(), after.data()))
      return damaged_chunk("has a step off the end");
    for (std::size_t w = 0; w < wide_.size(); ++w)
      after[wide_[w]] = wide_bits_[w];
    wide_bits_.clear();
    return {};
  }

  [[nodiscard]] result<void> finish() const {
    const std::uint64_t rest = wide_steps_.num_bits() - wide_steps_.position();
    if (rest >= 8 || (wide_steps_.peek() & 0xffU) != 0)
      return damaged_chunk("has bytes behind its last step");
    return {};
  }

 private:
  /// The zigzag number of a wide step; 0 when there is none.
  std::uint32_t take_wide(std::uint8_t symbol) {
    if (symbol >= num_symbols) return 0;
    const unsigned code = symbol - first_wide;
    const unsigned width = narrow_bits + code / 8;
    const std::uint32_t distance =
        ((4 + (code / 2) % 4) << (width - 2)) |
        static_cast<std::uint32_t>(wide_steps_.peek() & ((1U << (width - 2)) - 1));
    wide_steps_.skip(width - 2);
    if (wide_steps_.position() > wide_steps_.num_bits()) return 0;
    return 2 * distance + 1 + code % 2;
  }

  const classed_payload& read_;
  counts_by_class next_;
  bit_reader wide_steps_;
  std::array<std::uint8_t, delta_block_elements> row_;
  std::vector<std::uint16_t> wide_;       ///< elements of the block with wide steps
  std::vector<std::uint16_t> wide_bits_;  ///< what becomes of them
};

/// Symbols sorted by class, and the bits of wide steps in order.
struct coded_steps {
  std::vector<std::uint8_t> symbols;
  std::unique_ptr<std::byte[]> wide;
  std::size_t wide_bytes = 0;
};

coded_steps code_steps(std::span<const std::uint16_t> before, std::span<const std::uint16_t> after,
                       const class_table& table, counts_by_class next) {
  coded_steps out;
  out.symbols.resize(before.size());
  out.wide = std::make_unique_for_overwrite<std::byte[]>(wide_step_bytes_max * before.size() +
                                                         sizeof(std::uint64_t));
  bit_writer wide_bits(out.wide.get());
  std::array<std::uint8_t, delta_block_elements> row;
  for (std::size_t begin = 0; begin < before.size(); begin += row.size()) {
    const std::size_t count = std::min(row.size(), before.size() - begin);
    zigzag_row({before.data() + begin, after.data() + begin, count}, first_wide, row.data());
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint16_t old = before[begin + i];
      std::uint8_t& symbol = out.symbols[next[table[exponent_of(old)]]++];
      symbol = row[i];
      if (row[i] < first_wide) [[likely]]
        continue;
      const wide_step step = wide_code_of(zigzag_of(old, after[begin + i]));
      symbol = step.symbol;
      wide_bits.put(step.bits, step.num_bits);
    }
  }
  out.wide_bytes = (wide_bits.num_bits() + 7) / 8;
  return out;
}

std::vector<counted_step> count_steps(std::span<const std::uint8_t> symbols) {
  const auto counts = count_each(symbols, [](std::uint8_t symbol) { return symbol; });
  std::vector<counted_step> steps;
  for (std::size_t symbol = 1; symbol < num_symbols; ++symbol) {
    if (counts[symbol] > 0)
      steps.push_back({distance_min_of(symbol), static_cast<std::uint32_t>(counts[symbol])});
  }
  return steps;
}

}  // namespace

classed_chunk encode_classed(std::span<const std::uint16_t> before,
                             std::span<const std::uint16_t> after) {
  const counts_by_exponent exponents = count_exponents(before);
  const auto first_exponents = choose_classes(exponents);
  const class_table table = classes_of(first_exponents);
  const counts_by_class counts = count_classes(table, exponents);
  const coded_steps coded = code_steps(before, after, table, begins_of(counts));
  classed_chunk out{{static_cast<std::byte>(first_exponents.size())}, count_steps(coded.symbols)};
  for (const std::uint8_t exponent : first_exponents)
    out.payload.push_back(std::byte{exponent});
  std::span<const std::uint8_t> rest(coded.symbols);
  for (std::size_t c = 0; c < first_exponents.size(); ++c) {
    put_class(own_packer(), out.payload, rest.first(counts[c]));
    rest = rest.subspan(counts[c]);
  }
  out.payload.insert(out.payload.end(), coded.wide.get(), coded.wide.get() + coded.wide_bytes);
  return out;
}

result<void> read_classed(std::span<const std::byte> payload, std::span<const std::uint16_t> before,
                          change_sink& sink) {
  const auto read = read_classes(payload, before);
  if (!read) return fail(read.error());
  step_walk walk(*read);
  std::array<std::uint16_t, delta_block_elements> after;
  for (std::size_t begin = 0; begin < before.size(); begin += after.size()) {
    const auto block = before.subspan(begin, std::min(after.size(), before.size() - begin));
    const auto moved = std::span(after).first(block.size());
    if (auto ok = walk.move(block, moved); !ok) return ok;
    if (!sink.put_row(begin, {block.data(), moved.data(), block.size()}))
      return damaged_chunk("changes more than it says");
  }
  return walk.finish();
}

}  // namespace troupe::storage
