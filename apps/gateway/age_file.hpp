#pragma once

// Files that only the holders of certain private keys can read, in the format of age
// (age-encryption.org/v1, C2SP specification "age"): download commands of newer clients take
// exported weights in no other form. Only writing is here; any age program reads them.
//
// Threading: pure functions on files. Errors: errc::storage; errc::invalid_argument for a recipient
// whose key agrees with nobody's. After an error the written file is of no use.

#include <string>
#include <vector>

#include "apps/gateway/age_recipient.hpp"

namespace troupe::gateway {

/// Requires: at least one recipient. Each of them can read the file.
[[nodiscard]] result<void> write_age_file(const std::string& from, const std::string& to,
                                          const std::vector<age_key>& recipients);

}  // namespace troupe::gateway
