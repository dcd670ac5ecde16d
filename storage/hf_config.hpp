#pragma once

// config.json of a Hugging Face model directory, to and from the numbers a model is built with.
//
// A setting that would change the computation and is not implemented is refused by its name:
// running it as if it were absent would train another model than the user's.
//
// Threading: plain functions. Errors: errc::bad_model (damaged or contradictory, missing or
// impossible numbers), errc::unsupported (architecture or feature by name).
// Source: transformers 4.57 and 5.x, LlamaConfig, Qwen2Config and Qwen3Config, whose defaults stand
// in for missing members.

#include <string>
#include <string_view>

#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::storage {

struct hf_config {
  model_config model;
  /// float16 is reported as f32: the narrowest type here that holds its values exactly.
  dtype weights = dtype::f32;
};

[[nodiscard]] result<hf_config> parse_hf_config(std::string_view text, const std::string& source);

/// A config.json that both generations of transformers read as `model` with weights of `type`.
[[nodiscard]] std::string write_hf_config(const model_config& model, dtype type);

/// `text` unchanged but for the weights' type.
[[nodiscard]] result<std::string> retype_hf_config(std::string_view text, dtype type,
                                                   const std::string& source);

/// The same failure, as a fault of the model directory.
[[nodiscard]] error as_bad_model(error failure);

}  // namespace troupe::storage
