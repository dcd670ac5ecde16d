#pragma once

// Text as its bytes: token id = byte value, so a vocabulary of 256 covers any text and no file is
// needed.
//
// Threading: pure functions.

#include <string>
#include <string_view>
#include <vector>

#include "messages/ids.hpp"

namespace troupe::loops {

inline constexpr std::uint32_t byte_vocabulary = 256;

[[nodiscard]] inline std::vector<token_id> encode_bytes(std::string_view text) {
  std::vector<token_id> out;
  out.reserve(text.size());
  for (const char c : text)
    out.push_back(static_cast<token_id>(static_cast<unsigned char>(c)));
  return out;
}

/// Ids outside a byte become '?'.
[[nodiscard]] inline std::string decode_bytes(const std::vector<token_id>& tokens) {
  std::string out;
  out.reserve(tokens.size());
  for (const token_id token : tokens)
    out += token >= 0 && token < 256 ? static_cast<char>(token) : '?';
  return out;
}

}  // namespace troupe::loops
