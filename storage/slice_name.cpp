#include "storage/slice_name.hpp"

#include <array>
#include <charconv>

namespace troupe::storage {

namespace {

constexpr std::array<std::string_view, 3> part_names = {"weights", "exp_avg", "exp_avg_sq"};

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string slice_name(const slice_entry& entry) {
  return std::string(part_names[static_cast<std::size_t>(entry.part)]) + "/" +
         std::to_string(entry.parameter) + "/" + std::to_string(entry.begin);
}

result<slice_entry> parse_slice_name(std::string_view name) {
  const auto first = name.find('/');
  const auto second = first == std::string_view::npos ? first : name.find('/', first + 1);
  if (second != std::string_view::npos) {
    for (std::size_t part = 0; part < part_names.size(); ++part) {
      slice_entry entry;
      entry.part = static_cast<slice_part>(part);
      if (name.substr(0, first) == part_names[part] &&
          parse_number(name.substr(first + 1, second - first - 1), entry.parameter) &&
          parse_number(name.substr(second + 1), entry.begin) && slice_name(entry) == name)
        return entry;
    }
  }
  return fail(errc::corrupt, "'" + std::string(name) + "' is no slice name",
              "the file is not a checkpoint slice", "check the checkpoint's file list");
}

}  // namespace troupe::storage
