#pragma once

// Keys that sort as people count: numbers big-endian, names ended by a zero byte, which no valid
// name contains, so that one name's keys never mix with a longer one's.
//
// Threading: pure functions.

#include <cstdint>
#include <string>
#include <string_view>

namespace troupe::storage {

[[nodiscard]] std::string big_endian(std::uint64_t number);

/// The number in the first 8 bytes. Requires: there are 8.
[[nodiscard]] std::uint64_t from_big_endian(std::string_view bytes);

/// `name` and the zero byte that ends it.
[[nodiscard]] std::string ended(std::string_view name);

/// The first key behind all that begin with `ended(name)`.
[[nodiscard]] std::string behind(std::string_view name);

}  // namespace troupe::storage
