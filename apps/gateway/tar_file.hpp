#pragma once

// A folder's files as one tar archive, for clients that fetch weights in one piece.
//
// Threading: pure function over files. Errors: errc::storage.

#include <string>
#include <vector>

#include "messages/error.hpp"

namespace troupe::gateway {

/// `names` are plain files of `folder`; `marker` is an empty file that stands at the end.
[[nodiscard]] result<void> write_tar(const std::string& path, const std::string& folder,
                                     const std::vector<std::string>& names,
                                     const std::string& marker);

}  // namespace troupe::gateway
