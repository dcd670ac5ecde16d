#pragma once

// What the tokens of a model say, read from its tokenizer.json: enough to find a stop text in what
// was sampled, which needs no encoding. Byte-level BPE (GPT-2's alphabet), pieces with U+2581 for a
// space, and <0x00> byte pieces are understood: the vocabularies of Llama, Qwen and their kin.
//
// Threading: immutable after it was read. Errors: errc::bad_model, errc::not_found.
// Source: the tokenizer.json format of the Hugging Face tokenizers library.

#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/sampling.hpp"

namespace troupe::gateway {

class token_texts {
 public:
  /// Of `<directory>/tokenizer.json`.
  [[nodiscard]] static result<token_texts> read(const std::string& directory);
  [[nodiscard]] static result<token_texts> parse(std::string_view json);

  /// Its bytes; empty for ids that are not in the vocabulary.
  [[nodiscard]] std::string_view of(token_id token) const;

  [[nodiscard]] std::size_t size() const { return texts_.size(); }

 private:
  std::vector<std::string> texts_;
};

/// Ends the sequence with the token that completes the first of `stops`, if one appears.
void cut_at_stop(const token_texts& texts, const std::vector<std::string>& stops,
                 sampled_sequence& sequence);

}  // namespace troupe::gateway
