#pragma once

// Bodies that arrive compressed. What they unpack to is bounded before a byte of it is kept: a
// kilobyte may claim to be a terabyte.
//
// Threading: pure functions. Errors: errc::unsupported (another coding), errc::frame_too_large,
// errc::invalid_argument (damaged).

#include <string>
#include <string_view>

#include "messages/error.hpp"

namespace troupe::gateway {

/// `coding` is the Content-Encoding; empty and "identity" leave the body as it is.
[[nodiscard]] result<std::string> decoded_body(std::string_view coding, std::string body,
                                               std::size_t bytes_max);

}  // namespace troupe::gateway
