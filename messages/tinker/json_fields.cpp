#include "messages/tinker/json_fields.hpp"

#include <cmath>
#include <limits>

#include "config/limits.hpp"

namespace troupe::tinker {

result<boost::json::object> parse_object(std::string_view body) {
  boost::system::error_code problem;
  boost::json::parse_options options;
  options.max_depth = limits::json_depth_max;
  auto value =
      boost::json::parse(boost::json::string_view(body.data(), body.size()), problem, {}, options);
  if (problem || !value.is_object()) {
    return fail(errc::invalid_argument, "the body is no JSON object",
                problem ? problem.message() : "it is JSON of another kind",
                "send the request from the tinker SDK");
  }
  return std::move(value.get_object());
}

void json_fields::refuse(std::string_view key, const std::string& what) {
  if (failure_) return;
  failure_ = error{errc::invalid_argument, "field " + std::string(key) + " " + what,
                   "the program passed it so, or its SDK is of a version that is not known here",
                   "correct it; docs/tinker.md lists what is served"};
}

const boost::json::value* json_fields::find(std::string_view key) const {
  const auto* value = object_.if_contains(boost::json::string_view(key.data(), key.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::string> json_fields::optional_text(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string() || value->get_string().size() > limits::path_bytes_max) {
    refuse(key, "is no text of up to " + std::to_string(limits::path_bytes_max) + " bytes");
    return std::nullopt;
  }
  return std::string(value->get_string().data(), value->get_string().size());
}

std::string json_fields::text(std::string_view key) {
  const auto out = optional_text(key);
  if (!out) refuse(key, "is missing");
  return out.value_or(std::string());
}

std::optional<std::uint64_t> json_fields::optional_integer(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  if (value->is_int64() && value->get_int64() >= 0) {
    return static_cast<std::uint64_t>(value->get_int64());
  }
  refuse(key, "is no whole number from 0");
  return std::nullopt;
}

std::uint64_t json_fields::integer(std::string_view key) {
  const auto out = optional_integer(key);
  if (!out) refuse(key, "is missing");
  return out.value_or(0);
}

std::int64_t json_fields::integer_or(std::string_view key, std::int64_t otherwise) {
  const auto* value = find(key);
  if (value == nullptr) return otherwise;
  if (value->is_int64()) return value->get_int64();
  refuse(key, "is no whole number");
  return otherwise;
}

double json_fields::number_or(std::string_view key, double otherwise) {
  const auto* value = object_.if_contains(boost::json::string_view(key.data(), key.size()));
  if (value == nullptr) return otherwise;
  double out = std::numeric_limits<double>::quiet_NaN();
  if (value->is_double()) out = value->get_double();
  if (value->is_int64()) out = static_cast<double>(value->get_int64());
  if (value->is_uint64()) out = static_cast<double>(value->get_uint64());
  if (std::isfinite(out)) return out;
  refuse(key, "is no finite number");
  return otherwise;
}

std::optional<bool> json_fields::truth(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  refuse(key, "is neither true nor false");
  return std::nullopt;
}

}  // namespace troupe::tinker
