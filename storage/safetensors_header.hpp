#pragma once

// The header of a safetensors file, read from untrusted bytes and written for others.
//
// A header that passes describes the file completely: tensors cover its data without hole or
// overlap, each as long as its shape and type say. What follows may therefore slice it without
// further checks.
//
// Units: bytes relative to the start of the data, elements in shapes. Threading: plain values.
// Errors: errc::corrupt naming `source` and tensor; errc::unsupported for an unknown element type.
// Source: safetensors format: u64 little-endian length N, N bytes of JSON padded with spaces, data.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "messages/error.hpp"

namespace troupe::storage {

struct safetensors_entry {
  std::string name;
  std::string type;  ///< "F32", "BF16", ...
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const safetensors_entry&) const = default;
};

struct safetensors_header {
  std::vector<safetensors_entry> entries;  ///< by position in the file
  std::uint64_t data_begin = 0;            ///< position of the data in the file
};

inline constexpr std::size_t safetensors_length_bytes = 8;

/// Size of the JSON text, from the file's first 8 bytes.
[[nodiscard]] result<std::uint64_t> safetensors_text_bytes(
    std::span<const std::byte, safetensors_length_bytes> length, std::uint64_t file_bytes,
    const std::string& source);

[[nodiscard]] result<safetensors_header> parse_safetensors_header(std::string_view text,
                                                                  std::uint64_t file_bytes,
                                                                  const std::string& source);

/// The file's beginning up to its data, whose length is a multiple of 8. Requires: entries in order
/// of `begin` that cover the data.
[[nodiscard]] result<std::string> write_safetensors_header(
    const std::vector<safetensors_entry>& entries,
    const std::vector<std::pair<std::string, std::string>>& metadata);

}  // namespace troupe::storage
