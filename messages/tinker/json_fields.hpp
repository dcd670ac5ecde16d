#pragma once

// Reads the known fields of one JSON object and remembers the first thing that is wrong, so that a
// request is decoded in one pass and refused with one sentence. Unknown fields are ignored: newer
// clients send more.
//
// Threading: one owner. Errors: errc::invalid_argument naming the field.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "messages/error.hpp"

namespace troupe::tinker {

/// A JSON object of bounded depth out of a request's body.
[[nodiscard]] result<boost::json::object> parse_object(std::string_view body);

class json_fields {
 public:
  explicit json_fields(const boost::json::object& object) : object_(object) {}

  /// Absent and null are the same.
  [[nodiscard]] const boost::json::value* find(std::string_view key) const;

  [[nodiscard]] std::string text(std::string_view key);
  [[nodiscard]] std::optional<std::string> optional_text(std::string_view key);
  [[nodiscard]] std::uint64_t integer(std::string_view key);
  [[nodiscard]] std::optional<std::uint64_t> optional_integer(std::string_view key);
  [[nodiscard]] std::int64_t integer_or(std::string_view key, std::int64_t otherwise);
  /// Null is refused: clients write it in place of NaN and infinity.
  [[nodiscard]] double number_or(std::string_view key, double otherwise);
  [[nodiscard]] std::optional<bool> truth(std::string_view key);

  void refuse(std::string_view key, const std::string& what);
  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }

 private:
  const boost::json::object& object_;
  std::optional<error> failure_;
};

}  // namespace troupe::tinker
