#pragma once

// Small whole files: bounded reads, and durable writes that a reader sees whole or not at all.
//
// Threading: pure functions. Errors: errc::not_found, errc::invalid_argument (too large),
// errc::storage; all name the path.

#include <cstddef>
#include <string>
#include <string_view>

#include "messages/error.hpp"

namespace troupe::apps {

/// The folder of a path, which need not exist.
[[nodiscard]] std::string folder_of(const std::string& path);

/// Makes new names in a folder durable; errno says why not.
[[nodiscard]] bool sync_folder(const std::string& folder);

[[nodiscard]] result<std::string> read_text_file(const std::string& path, std::size_t bytes_max);

/// Mode 0600, through a temporary file beside it.
[[nodiscard]] result<void> replace_text_file(const std::string& path, std::string_view text);

}  // namespace troupe::apps
