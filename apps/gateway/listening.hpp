#pragma once

// Listening where the gateway listened before: a port that was picked is kept, so that a gateway
// that is started again is found by the clients of the earlier one.
//
// Threading: the loop's thread. Errors: errc::in_use, errc::storage.

#include <memory>

#include "apps/gateway/http_server.hpp"
#include "apps/gateway/options.hpp"

namespace troupe::gateway {

/// Listens on the wanted port, or on the one of the last time, and writes the file.
[[nodiscard]] result<std::unique_ptr<http_server>> listen_as_before(boost::asio::io_context& loop,
                                                                    const options& wanted,
                                                                    const http_handlers& handlers);

}  // namespace troupe::gateway
