#pragma once

// Wall-clock time as files and clients of the gateway know it.
//
// Threading: pure functions. Units: milliseconds since 1970.

#include <chrono>
#include <cstdint>
#include <ctime>
#include <string>

namespace troupe::gateway {

[[nodiscard]] inline std::uint64_t now_unix_ms() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

/// RFC 3339, in UTC.
[[nodiscard]] inline std::string rfc3339(std::uint64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::string out(32, '\0');
  out.resize(std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%S", &parts));
  const std::string thousandths = std::to_string(1000 + unix_ms % 1000);
  return out + "." + thousandths.substr(1) + "Z";
}

}  // namespace troupe::gateway
