#pragma once

// API keys of a cluster: `<data>/keys.json`, mode 0600. A key is shown once, when it is made; the
// file holds its SHA-256, which suffices because a key is 256 random bits.
//
// Threading: pure functions over files; one writer at a time.
// Errors: errc::storage, errc::invalid_argument (damaged file), errc::not_found, errc::busy.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"

namespace troupe::gateway {

enum class key_state : std::uint8_t { active = 0, revoked = 1 };

struct key_entry {
  std::string id;    ///< 8 hexadecimal digits; begins the id of everything the key makes
  std::string name;  ///< for people
  std::string sha256;
  std::uint64_t created_unix_ms = 0;
  key_state state = key_state::active;
};

struct new_key {
  key_entry entry;
  std::string secret;  ///< tml-..., shown once
};

/// An absent file holds no keys.
[[nodiscard]] result<std::vector<key_entry>> read_keys(const std::string& data_folder);

[[nodiscard]] result<new_key> create_key(const std::string& data_folder, const std::string& name);

/// By id, or by name when only one active key has it.
[[nodiscard]] result<key_entry> revoke_key(const std::string& data_folder,
                                           const std::string& id_or_name);

[[nodiscard]] std::string keys_path(const std::string& data_folder);

/// Lower-case hexadecimal.
[[nodiscard]] std::string sha256_text(std::string_view text);

}  // namespace troupe::gateway
