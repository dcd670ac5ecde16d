#pragma once

// Reading hostile JSON without exceptions, and the few shapes that `--json` answers share.
//
// Threading: pure functions. Errors: errc::invalid_argument with the parser's own words.

#include <optional>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "messages/error.hpp"

namespace troupe::apps {

/// Any complete JSON value of bounded depth.
[[nodiscard]] inline result<boost::json::value> parse_json(std::string_view text) {
  boost::system::error_code problem;
  boost::json::value out =
      boost::json::parse(boost::json::string_view(text.data(), text.size()), problem);
  if (problem) return fail(errc::invalid_argument, "not valid JSON: " + problem.message());
  return out;
}

[[nodiscard]] inline std::optional<std::string> text_of(const boost::json::object& object,
                                                        std::string_view key) {
  const auto* value = object.if_contains(boost::json::string_view(key.data(), key.size()));
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string().c_str(), value->get_string().size());
}

[[nodiscard]] inline std::optional<std::int64_t> integer_of(const boost::json::object& object,
                                                            std::string_view key) {
  const auto* value = object.if_contains(boost::json::string_view(key.data(), key.size()));
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  return value->get_int64();
}

[[nodiscard]] inline boost::json::object to_json(const error& e) {
  boost::json::object out;
  out["code"] = std::string(to_string(e.code));
  out["what"] = e.what;
  out["cause"] = e.cause;
  out["action"] = e.action;
  out["retryable"] = is_retryable(e.code);
  return boost::json::object{{"error", std::move(out)}};
}

}  // namespace troupe::apps
