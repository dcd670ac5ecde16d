#pragma once

// Troupe's error <-> CAF's error, in one place. A troupe error keeps its code and its sentences on
// the way through messages; CAF's own failures (a dead receiver, a passed deadline) become codes
// that callers react to.
//
// Threading: pure functions.

#include <string_view>

#include <caf/error.hpp>
#include <caf/expected.hpp>

#include "messages/error.hpp"

namespace troupe::actors {

[[nodiscard]] caf::error to_caf(const error& e);

[[nodiscard]] error from_caf(const caf::error& e);

/// True when the outcome of the request is unknown: the peer vanished or did not answer in time.
[[nodiscard]] bool is_lost(const error& e);

}  // namespace troupe::actors
