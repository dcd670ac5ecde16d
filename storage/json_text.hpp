#pragma once

// JSON of unknown origin, made into values without surprises: nesting is limited, and an object
// that names a member twice is refused, because two readers could choose differently between them.
//
// Threading: plain functions. Errors: errc::corrupt, naming `source`.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "messages/error.hpp"

namespace troupe::storage {

[[nodiscard]] result<boost::json::value> parse_json(std::string_view text,
                                                    const std::string& source);

/// The value as an unsigned number; errc::corrupt for anything else, fractions included.
[[nodiscard]] result<std::uint64_t> to_unsigned(const boost::json::value& value,
                                                const std::string& source);

}  // namespace troupe::storage
