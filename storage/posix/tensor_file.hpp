#pragma once

// One safetensors file of a model directory, opened and checked, read by element range as fp32.
//
// Units: elements. Threading: one thread at a time.
// Errors: errc::bad_model naming file and tensor, errc::unsupported for other element types than
// F32, BF16 and F16, errc::not_found.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/safetensors_header.hpp"

namespace troupe::storage::posix {

class tensor_file {
 public:
  static result<tensor_file> open(const std::string& path);

  [[nodiscard]] const std::vector<safetensors_entry>& tensors() const { return header_.entries; }

  /// Requires: `tensor` is one of tensors().
  result<void> read(const safetensors_entry& tensor, std::uint64_t begin, std::span<float> out);

 private:
  tensor_file(file_descriptor file, std::string path, safetensors_header header)
      : file_(std::move(file)), path_(std::move(path)), header_(std::move(header)) {}

  result<void> read_halves(std::uint64_t offset, std::span<float> out, const std::string& type);

  file_descriptor file_;
  std::string path_;
  safetensors_header header_;
  std::vector<std::uint16_t> halves_;
};

}  // namespace troupe::storage::posix
