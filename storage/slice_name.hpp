#pragma once

// The tensor name of a slice, "<part>/<parameter index>/<first element>", both ways. Parsing
// accepts exactly what writing produces, so that a name has one meaning and a meaning one name.
//
// Threading: plain functions. Errors: errc::corrupt.

#include <string>
#include <string_view>

#include "storage/slice_file.hpp"

namespace troupe::storage {

[[nodiscard]] std::string slice_name(const slice_entry& entry);

/// part, parameter and begin of the entry; `end` is not part of the name.
[[nodiscard]] result<slice_entry> parse_slice_name(std::string_view name);

}  // namespace troupe::storage
