#pragma once

// A Hugging Face model directory: config.json and safetensors, one file or an index with shards.
// Opening reads and checks all headers; tensor bytes are read on demand, by element range, as fp32
// or bf16, so that a rank touches only its slices.
//
// Every byte is hostile: lengths, offsets, shapes and names are checked with overflow-safe
// arithmetic and limits before anything is allocated.
//
// Units: elements. Threading: reads from one thread at a time.
// Errors: errc::not_found (no such directory or file), errc::bad_model (damaged or contradictory,
// naming file and tensor), errc::unsupported (architecture, dtype or feature by its name).
// Source: safetensors format; transformers 4.57 and 5.x config.json (`rope_theta` at the top or in
// `rope_parameters`, `dtype` or `torch_dtype`).

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::storage {

class hf_directory {
 public:
  virtual ~hf_directory() = default;

  [[nodiscard]] virtual const model_config& config() const = 0;
  /// What config.json names as the weights' type. An export has a type of its own.
  [[nodiscard]] virtual dtype weights_dtype() const = 0;

  /// errc::bad_model unless exactly these tensors exist with these shapes and readable dtypes.
  /// Beside a tied head, a `lm_head.weight` with the embedding's values is ignored and another one
  /// is refused: transformers would compute with it. The rotary frequencies of old Llama files
  /// are ignored, too.
  virtual result<void> check_layout(const std::vector<parameter_spec>& layout) = 0;

  /// Elements [begin, begin + out.size()) of a tensor, converted exactly to fp32.
  virtual result<void> read(const std::string& name, std::uint64_t begin, std::span<float> out) = 0;
};

[[nodiscard]] result<std::unique_ptr<hf_directory>> open_hf_directory(const std::string& directory);

/// Writes a directory that transformers loads: config.json, safetensors in files of at most
/// `file_bytes_max` with an index when there are several. `read` gives each tensor's values in
/// slices; config.json and tokenizer files are copied from `copy_files_from` when it is not empty,
/// with `dtype` adjusted. The directory appears under its final name only when complete;
/// errc::already_exists when that name exists.
class tensor_reader {
 public:
  virtual ~tensor_reader() = default;
  virtual result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) = 0;
};

struct hf_export {
  std::string directory;
  std::string copy_files_from;
  model_config config;
  dtype type = dtype::bf16;
  std::uint64_t file_bytes_max = 5'000'000'000;
};

[[nodiscard]] result<void> write_hf_directory(const hf_export& target,
                                              const std::vector<parameter_spec>& layout,
                                              tensor_reader& tensors);

}  // namespace troupe::storage
