#pragma once

// Whether a folder looks like the data folder of a cluster or like what is left of one. A database
// that lost its parts would otherwise be made anew, empty, on top of the rest.
//
// Threading: pure, reads names only. Errors: errc::corrupt, naming what is missing; errc::storage.

#include <string>

#include "messages/error.hpp"

namespace troupe::storage {

/// Fine: nothing there yet, or a database and its blobs. Nothing is changed.
[[nodiscard]] result<void> check_data_folder(const std::string& root);

}  // namespace troupe::storage
