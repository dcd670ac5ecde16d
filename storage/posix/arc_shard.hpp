#pragma once

// One shard of an arc_v2 delta or of a model, read tensor by tensor as raw bytes, and the two
// operations on a tensor: difference and application.
//
// Threading: one thread. Errors: errc::corrupt, errc::wrong_base, errc::invalid_argument.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/safetensors_header.hpp"

namespace troupe::storage::posix {

using byte_vector = std::vector<std::byte>;

class arc_shard {
 public:
  static result<arc_shard> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<safetensors_entry>& tensors() const { return header_.entries; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Null when there is none of that name.
  [[nodiscard]] const safetensors_entry* find(const std::string& name) const;
  result<byte_vector> read(const safetensors_entry& tensor) const;
  /// The file's beginning up to its data.
  result<byte_vector> beginning() const;
  /// Every tensor is U8 and has a checksum.
  [[nodiscard]] bool is_delta() const;

 private:
  file_descriptor file_;
  std::string path_;
  safetensors_header header_;
  std::map<std::string, std::string> metadata_;
};

/// zstd of the difference.
[[nodiscard]] result<byte_vector> arc_difference(std::span<const std::byte> before,
                                                 std::span<const std::byte> after);

/// The new bytes, whose checksum is `checksum`.
[[nodiscard]] result<byte_vector> arc_apply(byte_vector before,
                                            std::span<const std::byte> difference,
                                            const std::string& checksum, const std::string& name);

/// Adler-32 in decimal digits.
[[nodiscard]] std::string arc_checksum(std::span<const std::byte> bytes);

}  // namespace troupe::storage::posix
