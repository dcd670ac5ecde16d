#pragma once

// What goes back over HTTP, and the two ways a failure is told: as a status with a reason for a
// request that was refused, or as the result of a future whose request was taken.
//
// Threading: pure functions.

#include <functional>
#include <string>

#include <boost/json.hpp>

#include "messages/error.hpp"

namespace troupe::gateway {

struct reply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string file = {};  ///< a path: its contents are the body
};

using responder = std::function<void(reply)>;

[[nodiscard]] reply json_reply(const boost::json::object& object);
[[nodiscard]] reply protobuf_reply(std::string bytes);

/// A refused request: {"detail": ..., "category": ...} with a status that fits the error's code.
/// Never 409 or 5xx for what would fail again: clients repeat those for minutes.
[[nodiscard]] reply refusal(const error& e);
[[nodiscard]] reply refusal(unsigned status, const error& e);

/// A request that was taken and failed: status 200, {"error": ..., "category": "user" | "server"}.
[[nodiscard]] reply failed_future(const error& e);

/// Of a run that answered something of another kind.
[[nodiscard]] reply unexpected_result();

}  // namespace troupe::gateway
