#pragma once

// Bits packed from the least significant end of little-endian words, so that a run of zeros, which
// is how Rice codes count, is found with one instruction.
//
// Units: bits. Threading: one thread at a time.
// Invariants: a reader never touches memory outside its own, whatever the bits say, as long as its
// owner looks at position() at least every `slack_bytes`; bits behind the end read as zero.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace troupe::storage {

static_assert(std::endian::native == std::endian::little, "words are stored as they are in memory");

class bit_writer {
 public:
  /// Requires: room for all bits that will be put, and 8 bytes more.
  explicit bit_writer(std::byte* out) : out_(out) {}

  /// Requires: count <= 56, and bits < 2^count.
  void put(std::uint64_t bits, unsigned count) {
    buffer_ |= bits << filled_;
    filled_ += count;
    written_ += count;
    std::memcpy(out_, &buffer_, sizeof buffer_);
    const unsigned whole_bytes = filled_ / 8;
    out_ += whole_bytes;
    buffer_ >>= 8 * whole_bytes;
    filled_ %= 8;
  }

  /// `zeros` zero bits and a one.
  void put_unary(std::uint64_t zeros) {
    for (; zeros > 48; zeros -= 48)
      put(0, 48);
    put(std::uint64_t{1} << zeros, static_cast<unsigned>(zeros) + 1);
  }

  [[nodiscard]] std::uint64_t num_bits() const { return written_; }

 private:
  std::byte* out_;
  std::uint64_t buffer_ = 0;
  unsigned filled_ = 0;
  std::uint64_t written_ = 0;
};

/// A place in a reader's bits; many may walk through one reader's.
class bit_cursor {
 public:
  /// Bits that peek() gives at least.
  static constexpr unsigned window = 57;

  bit_cursor() = default;
  bit_cursor(const std::byte* bytes, std::uint64_t position) : bytes_(bytes), position_(position) {}

  [[nodiscard]] std::uint64_t position() const { return position_; }

  [[nodiscard]] std::uint64_t peek() const {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes_ + position_ / 8, sizeof word);
    return word >> (position_ % 8);
  }

  void skip(std::uint64_t count) { position_ += count; }

 private:
  const std::byte* bytes_ = nullptr;
  std::uint64_t position_ = 0;
};

/// Copies its bits, with zeros behind them, so that no look at them needs a check of its own.
class bit_reader {
 public:
  /// How far a position may run beyond the end.
  static constexpr std::size_t slack_bytes = 4096;

  explicit bit_reader(std::span<const std::byte> bits)
      : bytes_(bits.size() + slack_bytes + sizeof(std::uint64_t)),
        num_bits_(8 * bits.size()),
        cursor_(bytes_.data(), 0) {
    if (!bits.empty()) std::memcpy(bytes_.data(), bits.data(), bits.size());
  }
  bit_reader(const bit_reader&) = delete;
  bit_reader& operator=(const bit_reader&) = delete;

  [[nodiscard]] std::uint64_t position() const { return cursor_.position(); }
  [[nodiscard]] std::uint64_t num_bits() const { return num_bits_; }
  [[nodiscard]] std::uint64_t peek() const { return cursor_.peek(); }
  void skip(std::uint64_t count) { cursor_.skip(count); }

  /// Valid while the reader lives.
  [[nodiscard]] bit_cursor at(std::uint64_t position) const { return {bytes_.data(), position}; }

 private:
  std::vector<std::byte> bytes_;
  std::uint64_t num_bits_;
  bit_cursor cursor_;
};

}  // namespace troupe::storage
