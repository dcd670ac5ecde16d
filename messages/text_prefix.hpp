#pragma once

// Texts for people have bounds on the wire and in files, and what is cut must stay valid UTF-8:
// readers refuse it otherwise.
//
// Threading: pure functions.

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe {

/// As much of `text` as fits `bytes_max`, never through the middle of a UTF-8 character.
[[nodiscard]] inline std::string text_prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;
  return std::string(text.substr(0, end));
}

}  // namespace troupe
