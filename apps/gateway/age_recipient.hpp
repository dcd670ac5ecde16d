#pragma once

// Public keys of people who read encrypted exports: the native ones of age, "age1...", which are an
// X25519 key in Bech32 (BIP 173) with a checksum, so that a mistyped one is noticed.
//
// Threading: pure functions. Errors: errc::invalid_argument; errc::unsupported for SSH keys.

#include <array>
#include <string_view>

#include "messages/error.hpp"

namespace troupe::gateway {

using age_key = std::array<unsigned char, 32>;

[[nodiscard]] result<age_key> parse_age_recipient(std::string_view text);

}  // namespace troupe::gateway
