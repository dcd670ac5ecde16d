#pragma once

// A folder that PEFT loads beside the model it was trained on: adapter_config.json and
// adapter_model.safetensors in fp32.
//
// Threading: plain functions. Errors: errc::already_exists when the directory exists, those of the
// reader, and those of files.
// Source: peft 0.18 to 0.21, LoraConfig.

#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"
#include "storage/hf_directory.hpp"

namespace troupe::storage {

struct peft_export {
  std::string directory;
  std::string base_model;  ///< name or folder of the model, for those who load the adapters
  lora_config lora;
};

[[nodiscard]] std::string write_peft_config(const peft_export& target);

/// `layout` holds the adapters under PEFT's names; `adapters` reads them by their place in it.
[[nodiscard]] result<void> write_peft_directory(const peft_export& target,
                                                const std::vector<parameter_spec>& layout,
                                                tensor_reader& adapters);

}  // namespace troupe::storage
