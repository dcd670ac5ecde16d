#pragma once

// A new model out of a seed: the same numbers on every machine and for every order of reading, so
// that a run from nothing can be made again.
//
// Matrices are normal with deviation 0.02, norms are one: the usual start of transformer models.
// Threading: pure. Errors: those of write_hf_directory.

#include <cstdint>
#include <string>

#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::apps {

/// A Qwen3 of `num_layers` blocks over bytes: 256 tokens, four heads, two of them for keys.
[[nodiscard]] model_config byte_level_qwen3(std::uint32_t hidden_size, std::uint32_t num_layers);

/// One number of a seeded normal field: parameter and element name it.
[[nodiscard]] float seeded_normal(std::uint64_t seed, std::uint32_t parameter,
                                  std::uint64_t element);

/// Writes a Hugging Face directory; errc::already_exists when it is there.
[[nodiscard]] result<void> write_seeded_model(const std::string& directory,
                                              const model_config& model, std::uint64_t seed);

}  // namespace troupe::apps
