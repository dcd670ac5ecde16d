#pragma once

// Headers of a delta file and its chunks. Each ends with a checksum of itself, so that no field is
// believed before all are known to be whole. Files of version 1, whose chunks have longer headers,
// are still read. Format: docs/formats/delta.md.
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
inline constexpr std::uint32_t delta_version = 2;

/// Bounds of a chunk's place: the digest's key has 40 bits for the element.
inline constexpr std::uint64_t delta_element_limit = std::uint64_t{1} << 40;
inline constexpr std::uint32_t delta_parameter_limit = 1U << 24;

/// As it lies in the file.
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
  std::uint64_t before = 0;  ///< low half of the chunk's digest
  std::uint64_t after = 0;
  std::uint64_t payload_check = 0;
  delta_codec codec = delta_codec::dense;
  std::uint8_t step_shift = 0;
};

inline constexpr std::size_t delta_chunk_header_bytes = 48;

/// Of one chunk in a file of `version`, which must be a known one.
[[nodiscard]] constexpr std::size_t chunk_header_bytes(std::uint32_t version) {
  return version == 1 ? 80 : delta_chunk_header_bytes;
}

struct delta_chunk {
  delta_chunk_header header;
  std::span<const std::byte> payload;
  std::size_t bytes = 0;  ///< header and payload in the file
};

/// What `payload_check` of a new chunk must be.
[[nodiscard]] std::uint64_t delta_checksum(std::span<const std::byte> payload);

/// Fills in `check`.
void seal(delta_file_header& header);

/// The header as a new file holds it.
[[nodiscard]] std::array<std::byte, delta_chunk_header_bytes> packed(
    const delta_chunk_header& header);

/// The header at the start of a file of `file_bytes`.
[[nodiscard]] result<delta_file_header> read_file_header(std::span<const std::byte> start,
                                                         std::uint64_t file_bytes);

/// A chunk's header alone, at the start of `rest`.
[[nodiscard]] result<delta_chunk_header> read_chunk_header(std::span<const std::byte> rest,
                                                           std::uint32_t version);

/// The chunk at the start of `rest`, its payload compared with its checksum.
[[nodiscard]] result<delta_chunk> read_chunk(std::span<const std::byte> rest,
                                             std::uint32_t version);

}  // namespace troupe::storage
