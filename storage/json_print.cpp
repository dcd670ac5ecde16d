#include "storage/json_print.hpp"

#include <boost/json.hpp>

namespace troupe::storage {

namespace {

namespace json = boost::json;

void print(const json::value& value, const std::string& indent, std::string& text) {
  const std::string inner = indent + "  ";
  const char* separator = "\n";
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    text += "{";
    for (const auto& member : *object) {
      text += separator + inner + json::serialize(json::string(member.key())) + ": ";
      print(member.value(), inner, text);
      separator = ",\n";
    }
    text += "\n" + indent + "}";
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    text += "[";
    for (const json::value& element : *array) {
      text += separator + inner;
      print(element, inner, text);
      separator = ",\n";
    }
    text += "\n" + indent + "]";
  } else {
    text += json::serialize(value);
  }
}

}  // namespace

std::string print_json(const json::value& value) {
  std::string text;
  print(value, "", text);
  return text + "\n";
}

}  // namespace troupe::storage
