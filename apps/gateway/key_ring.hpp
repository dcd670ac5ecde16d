#pragma once

// Who may call: the active keys of the key file, read again when the file changes, so that a
// revoked key ends with the next request.
//
// Threading: one owner.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/gateway/key_file.hpp"

namespace troupe::gateway {

class key_ring {
 public:
  explicit key_ring(std::string data_folder);

  /// The id of the active key with this secret, or none. Takes the same time whichever key it is
  /// and wherever it differs.
  [[nodiscard]] std::optional<std::string> find(std::string_view secret);

  [[nodiscard]] bool has_active();

 private:
  /// What tells one state of the file from the next.
  struct version {
    std::uint64_t inode = 0;
    std::int64_t bytes = -1;
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
    bool operator==(const version&) const = default;
  };

  void refresh();

  std::string data_folder_;
  std::vector<key_entry> active_;
  version seen_;
};

}  // namespace troupe::gateway
