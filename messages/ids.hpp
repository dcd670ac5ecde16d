#pragma once

// Names and numbers that identify things across nodes. Names are distinct types so that a run can
// never be passed where a deployment is meant; numbers that are compared and counted stay plain
// 64-bit integers with telling field names (seq_id, step, incarnation, client_epoch).
//
// Threading: plain values.

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace troupe {

template <class Tag>
struct name_id {
  std::string value;

  auto operator<=>(const name_id&) const = default;
  [[nodiscard]] bool empty() const { return value.empty(); }
};

using node_id = name_id<struct node_tag>;
using device_id = name_id<struct device_tag>;
using run_id = name_id<struct run_tag>;
using deployment_id = name_id<struct deployment_tag>;

/// Lower-case hexadecimal SHA-256 of a checkpoint's canonical manifest.
using checkpoint_id = name_id<struct checkpoint_tag>;

/// Lower-case hexadecimal SHA-256 of a blob's bytes: also its file name.
using blob_id = name_id<struct blob_tag>;

using token_id = std::int32_t;

/// True for 1 to 128 characters of [A-Za-z0-9._-] that are neither "." nor "..": what a user may
/// call a run, a deployment or a checkpoint. Such a name never becomes a path.
[[nodiscard]] constexpr bool is_valid_name(std::string_view name) {
  if (name.empty() || name.size() > 128 || name == "." || name == "..") return false;
  for (const char c : name) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

}  // namespace troupe

template <class Tag>
struct std::hash<troupe::name_id<Tag>> {
  std::size_t operator()(const troupe::name_id<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.value);
  }
};
