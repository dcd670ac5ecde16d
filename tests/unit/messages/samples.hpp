#pragma once

// One valid, filled instance of every message, and a table of all messages for tests that treat
// them alike. The seed picks the variant of a message that has several.
//
// Threading: pure functions.

#include <cstdint>
#include <span>
#include <string_view>

#include "messages/error.hpp"
#include "messages/wire/frame.hpp"

namespace troupe::test {

/// A message with its type erased.
struct message_case {
  std::string_view name;
  std::uint64_t num_variants;
  result<wire::frame> (*encode_sample)(std::uint64_t seed);
  /// Whether the decoded sample equals the sample.
  bool (*survives)(std::uint64_t seed);
  /// Decodes, then encodes what came out.
  result<wire::frame> (*recode)(std::span<const std::uint64_t> words);
};

[[nodiscard]] std::span<const message_case> all_messages();

/// Defined for every message that can be sent.
template <class T>
[[nodiscard]] T sample(std::uint64_t seed);

}  // namespace troupe::test
