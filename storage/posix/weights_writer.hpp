#pragma once

// Parameters of a layout, written as one safetensors file of a draft folder. Values come in slices
// from the caller's reader and are converted on the way, so that no tensor is ever whole in memory.
//
// Units: elements. Threading: one thread. Errors: those of the reader and of posix_file.hpp.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"
#include "storage/hf_directory.hpp"
#include "storage/posix/folder_draft.hpp"
#include "storage/safetensors_header.hpp"

namespace troupe::storage::posix {

/// Parameters [first, last) of the layout in one file.
struct weight_file {
  std::string name;
  std::size_t first = 0;
  std::size_t last = 0;
};

class weights_writer {
 public:
  /// All arguments must outlive the writer.
  weights_writer(folder_draft& draft, const std::vector<parameter_spec>& layout, dtype type,
                 tensor_reader& tensors);

  result<void> write(const weight_file& planned);

 private:
  [[nodiscard]] std::vector<safetensors_entry> entries_of(const weight_file& planned) const;
  result<void> write_parameter(const file_descriptor& file, std::uint32_t parameter,
                               const std::string& path);
  [[nodiscard]] std::span<const std::byte> converted(std::span<const float> values);

  folder_draft& draft_;
  const std::vector<parameter_spec>& layout_;
  dtype type_;
  tensor_reader& tensors_;
  std::vector<float> values_;
  std::vector<std::uint16_t> bits_;
};

}  // namespace troupe::storage::posix
