#include "storage/json_text.hpp"

#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>

namespace troupe::storage {

namespace {

namespace json = boost::json;

constexpr std::size_t depth_max = 32;

json::parse_options strict_options() {
  json::parse_options options;
  options.max_depth = depth_max;
  return options;
}

/// Counts member names as they are written, so that the count can be compared with what a tree of
/// values kept.
struct member_counter {
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  std::size_t members = 0;

  using code = json::error_code;
  using text = json::string_view;
  bool on_document_begin(code&) { return true; }
  bool on_document_end(code&) { return true; }
  bool on_object_begin(code&) { return true; }
  bool on_object_end(std::size_t, code&) { return true; }
  bool on_array_begin(code&) { return true; }
  bool on_array_end(std::size_t, code&) { return true; }
  bool on_key_part(text, std::size_t, code&) { return true; }
  bool on_key(text, std::size_t, code&) {
    ++members;
    return true;
  }
  bool on_string_part(text, std::size_t, code&) { return true; }
  bool on_string(text, std::size_t, code&) { return true; }
  bool on_number_part(text, code&) { return true; }
  bool on_int64(std::int64_t, text, code&) { return true; }
  bool on_uint64(std::uint64_t, text, code&) { return true; }
  bool on_double(double, text, code&) { return true; }
  bool on_bool(bool, code&) { return true; }
  bool on_null(code&) { return true; }
  bool on_comment_part(text, code&) { return true; }
  bool on_comment(text, code&) { return true; }
};

std::size_t count_members(const json::value& value) {
  std::size_t count = 0;
  if (const auto* object = value.if_object()) {
    count += object->size();
    for (const auto& member : *object)
      count += count_members(member.value());
  } else if (const auto* array = value.if_array()) {
    for (const json::value& element : *array)
      count += count_members(element);
  }
  return count;
}

}  // namespace

result<json::value> parse_json(std::string_view text, const std::string& source) {
  json::error_code failure;
  const json::string_view input(text.data(), text.size());
  json::value value = json::parse(input, failure, {}, strict_options());
  if (failure)
    return fail(errc::corrupt, source + " is not valid JSON: " + failure.message(),
                "it is damaged or another kind of file", "fetch it again from its origin");
  json::basic_parser<member_counter> counter(strict_options());
  counter.write_some(false, input.data(), input.size(), failure);
  if (failure || counter.handler().members != count_members(value))
    return fail(errc::corrupt, source + " names a member of an object twice",
                "it was not written by a JSON library", "fetch it again from its origin");
  return value;
}

result<std::uint64_t> to_unsigned(const json::value& value, const std::string& source) {
  if (const auto* number = value.if_uint64()) return *number;
  if (const auto* number = value.if_int64(); number != nullptr && *number >= 0)
    return static_cast<std::uint64_t>(*number);
  return fail(errc::corrupt, source + " holds " + json::serialize(value).substr(0, 64),
              "a non-negative whole number belongs there", "fetch the file again");
}

}  // namespace troupe::storage
