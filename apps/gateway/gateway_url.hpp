#pragma once

// `<data>/gateway.json`: where the gateway of a cluster listens, for those who start it and for
// itself after a restart.
//
// Threading: pure functions over files. Errors: errc::not_found, errc::storage.

#include <cstdint>
#include <string>

#include "messages/error.hpp"

namespace troupe::gateway {

/// "http://host:port", or "https:" and so on.
[[nodiscard]] result<std::string> read_url(const std::string& data_folder);

/// 0 when it never listened.
[[nodiscard]] std::uint16_t read_port(const std::string& data_folder);

[[nodiscard]] result<void> write_url(const std::string& data_folder, const std::string& scheme,
                                     const std::string& host, std::uint16_t port);

}  // namespace troupe::gateway
