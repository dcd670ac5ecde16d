#pragma once

// Who may call: the active keys of the key file, read again when the file changes, so that a
// revoked key ends with the next request.
//
// Threading: one owner.

#include <ctime>
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
  void refresh();

  std::string data_folder_;
  std::vector<key_entry> active_;
  timespec changed_{};
};

}  // namespace troupe::gateway
