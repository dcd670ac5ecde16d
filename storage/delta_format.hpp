#pragma once

// Headers of a delta file, as they lie in it. Each ends with a checksum of itself, so that no field
// is believed before all are known to be whole. Format: docs/formats/delta.md.
//
// Threading: plain functions. Errors: errc::corrupt.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "messages/error.hpp"
#include "storage/delta_chunk.hpp"

namespace troupe::storage {

inline constexpr std::array<char, 8> delta_magic = {'T', 'R', 'P', 'D', 'E', 'L', 'T', 'A'};
inline constexpr std::uint32_t delta_version = 1;

/// Bounds of a chunk's place: the digest's key has 40 bits for the element.
inline constexpr std::uint64_t delta_element_limit = std::uint64_t{1} << 40;
inline constexpr std::uint32_t delta_parameter_limit = 1U << 24;

struct delta_file_header {
  std::array<char, 8> magic = delta_magic;
  std::uint32_t version = delta_version;
  std::uint32_t num_chunks = 0;
  std::uint64_t num_elements = 0;  ///< compared when the delta was made, unchanged chunks included
  std::uint64_t num_changed = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t check = 0;
};
static_assert(sizeof(delta_file_header) == 48);

struct delta_chunk_header {
  std::uint32_t parameter = 0;
  std::uint32_t num_elements = 0;
  std::uint64_t first_element = 0;
  std::uint32_t num_changed = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t before_low = 0;
  std::uint64_t before_high = 0;
  std::uint64_t after_low = 0;
  std::uint64_t after_high = 0;
  std::uint64_t payload_check = 0;
  delta_codec codec = delta_codec::dense;
  std::uint8_t step_shift = 0;
  std::array<std::uint8_t, 6> zero{};
  std::uint64_t check = 0;
};
static_assert(sizeof(delta_chunk_header) == 80);

[[nodiscard]] std::uint64_t delta_checksum(std::span<const std::byte> bytes);

/// Fills in `check`.
void seal(delta_file_header& header);
void seal(delta_chunk_header& header);

/// The header at the start of a whole file.
[[nodiscard]] result<delta_file_header> read_file_header(std::span<const std::byte> file);

/// The header at the start of `rest`, whose payload then lies behind it.
[[nodiscard]] result<delta_chunk_header> read_chunk_header(std::span<const std::byte> rest);

}  // namespace troupe::storage
