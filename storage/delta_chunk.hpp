#pragma once

// How the changed elements of one chunk become bytes. Every codec has its exact size computed from
// counts before anything is written, and the smallest is taken. Format: docs/formats/delta.md.
//
// Units: elements; positions count from the chunk's first element. Threading: stateless.
// Errors: errc::corrupt for a payload that is not one of this format.
// Invariants: decode_chunk(encode_chunk(c), before) == c for every bit pattern.
// Source: R. F. Rice, 1979, for gaps and steps; a step is the difference of ordinals, which order
// all 65536 patterns by value and keep -0, +0 and every NaN apart.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "messages/error.hpp"

namespace troupe::storage {

enum class delta_codec : std::uint8_t {
  dense = 0,     ///< all new bits
  bitmap = 1,    ///< one bit an element, then the changed ones' new bits
  rice_ulp = 2,  ///< gaps and steps to a neighbouring value
  rice_xor = 3,  ///< gaps and flipped bits
  set = 4,       ///< gaps and new bits
  classed = 5,   ///< a step of every element, entropy-coded by the size of what it changes
};
inline constexpr std::uint8_t num_delta_codecs = 6;

inline constexpr std::size_t delta_chunk_elements = 1024 * 1024;
inline constexpr std::size_t delta_block_elements = 4096;

/// Elements of one chunk that change; only memory that is used again between two encoders' chunks.
struct chunk_changes {
  std::vector<std::uint32_t> positions;  ///< ascending
  std::vector<std::uint16_t> before;
  std::vector<std::uint16_t> after;
};

struct coded_chunk {
  delta_codec codec = delta_codec::dense;
  std::uint8_t step_shift = 0;    ///< low bits of a step that are written as they are
  std::uint32_t num_changed = 0;  ///< 0: both states are equal, and there is no payload
  std::vector<std::byte> payload;
};

/// Requires: both states of the whole chunk, of at most delta_chunk_elements. `changes` is room for
/// the encoder; it holds the changes afterwards, unless they are so many that it did not list them.
[[nodiscard]] coded_chunk encode_chunk(std::span<const std::uint16_t> before,
                                       std::span<const std::uint16_t> after,
                                       chunk_changes& changes);

/// From this share of changed elements on, going over all of them is cheaper than over a list.
[[nodiscard]] constexpr bool is_dense(std::size_t num_changed, std::size_t num_elements) {
  return num_changed >= num_elements / 4;
}

/// What is written of a chunk, and where it lies.
struct chunk_form {
  delta_codec codec = delta_codec::dense;
  std::uint8_t step_shift = 0;  ///< <= step_shift_max
  std::uint64_t first_element = 0;
  std::uint32_t num_changed = 0;
};

/// Elements of a parameter that change, ascending; positions count from its beginning.
struct decoded_changes {
  std::vector<std::uint64_t> elements;
  std::vector<std::uint16_t> before;
  std::vector<std::uint16_t> after;
};

/// Reads the changes against the chunk's bits before. errc::corrupt also when their number is
/// another one than `form` says, or when one of them changes nothing.
[[nodiscard]] result<void> decode_chunk(const chunk_form& form, std::span<const std::byte> payload,
                                        std::span<const std::uint16_t> before,
                                        decoded_changes& changes);

inline constexpr std::uint8_t step_shift_max = 7;

/// Zeros that say "not a step: new bits follow".
inline constexpr unsigned step_escape = 20;

/// Place of a pattern in the order of values; a bijection of 16 bits.
[[nodiscard]] constexpr std::uint16_t ordinal_of(std::uint16_t bits) {
  const std::uint32_t mask = (bits & 0x8000U) != 0 ? 0xffffU : 0x8000U;
  return static_cast<std::uint16_t>(bits ^ mask);
}

/// Steps in one row: 0, one up, one down, two up, ...
[[nodiscard]] constexpr std::uint32_t zigzag_of(std::uint16_t before, std::uint16_t after) {
  const std::int32_t back = std::int32_t{ordinal_of(before)} - std::int32_t{ordinal_of(after)};
  return (static_cast<std::uint32_t>(back) << 1) ^ static_cast<std::uint32_t>(back >> 31);
}

/// Where such a step leads; above 65535 when it leaves the order.
[[nodiscard]] constexpr std::uint32_t moved_ordinal(std::uint16_t before, std::uint32_t zigzag) {
  return ordinal_of(before) - ((zigzag >> 1) ^ (0U - (zigzag & 1)));
}

[[nodiscard]] constexpr std::uint16_t from_ordinal(std::uint16_t ordinal) {
  const std::uint32_t mask = (ordinal & 0x8000U) != 0 ? 0x8000U : 0xffffU;
  return static_cast<std::uint16_t>(ordinal ^ mask);
}

}  // namespace troupe::storage
