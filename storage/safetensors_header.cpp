#include "storage/safetensors_header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <tuple>

#include <boost/json.hpp>

#include "config/limits.hpp"
#include "storage/json_text.hpp"

namespace troupe::storage {

namespace {

namespace json = boost::json;

static_assert(std::endian::native == std::endian::little, "files are little-endian, as memory");

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 15> type_bytes = {{{"BOOL", 1},
                                                                                    {"U8", 1},
                                                                                    {"I8", 1},
                                                                                    {"F8_E4M3", 1},
                                                                                    {"F8_E5M2", 1},
                                                                                    {"U16", 2},
                                                                                    {"I16", 2},
                                                                                    {"F16", 2},
                                                                                    {"BF16", 2},
                                                                                    {"U32", 4},
                                                                                    {"I32", 4},
                                                                                    {"F32", 4},
                                                                                    {"U64", 8},
                                                                                    {"I64", 8},
                                                                                    {"F64", 8}}};

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, what, "the file is damaged or was not written as safetensors",
              "fetch it again from its origin");
}

result<std::uint64_t> bytes_of_type(std::string_view type, const std::string& place) {
  for (const auto& [name, bytes] : type_bytes) {
    if (name == type) return bytes;
  }
  return fail(errc::unsupported,
              place + " has element type '" + std::string(type.substr(0, 32)) +
                  "', which is not known here",
              "the file uses a newer or packed type", "convert it to BF16 or F32");
}

result<std::uint64_t> bytes_of_shape(const std::vector<std::uint64_t>& shape,
                                     std::uint64_t element_bytes, const std::string& place) {
  std::uint64_t bytes = element_bytes;
  for (const std::uint64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      return damaged(place + " has a shape whose size overflows");
  }
  return bytes;
}

result<std::vector<std::uint64_t>> parse_numbers(const json::value& value, std::size_t count_max,
                                                 const std::string& place) {
  const auto* array = value.if_array();
  if (array == nullptr || array->size() > count_max)
    return damaged(place + " is not a list of at most " + std::to_string(count_max) + " numbers");
  std::vector<std::uint64_t> numbers;
  numbers.reserve(array->size());
  for (const json::value& element : *array) {
    const auto number = to_unsigned(element, place);
    if (!number) return fail(number.error());
    numbers.push_back(*number);
  }
  return numbers;
}

result<safetensors_entry> parse_entry(std::string_view name, const json::value& value,
                                      std::uint64_t data_bytes, const std::string& source) {
  if (name.empty() || name.size() > limits::tensor_name_bytes_max)
    return damaged(source + " has a tensor whose name has " + std::to_string(name.size()) +
                   " bytes");
  const std::string place = source + ": tensor '" + std::string(name) + "'";
  const auto* object = value.if_object();
  const json::value* type = object ? object->if_contains("dtype") : nullptr;
  const json::value* shape = object ? object->if_contains("shape") : nullptr;
  const json::value* offsets = object ? object->if_contains("data_offsets") : nullptr;
  if (type == nullptr || !type->is_string() || shape == nullptr || offsets == nullptr ||
      object->size() != 3)
    return damaged(place + " does not consist of dtype, shape and data_offsets");
  safetensors_entry entry;
  entry.name = name;
  entry.type = std::string(type->get_string());
  const auto element_bytes = bytes_of_type(entry.type, place);
  if (!element_bytes) return fail(element_bytes.error());
  auto extents = parse_numbers(*shape, limits::tensor_rank_max, place + ", shape");
  if (!extents) return fail(extents.error());
  entry.shape = std::move(*extents);
  const auto bytes = bytes_of_shape(entry.shape, *element_bytes, place);
  if (!bytes) return fail(bytes.error());
  const auto range = parse_numbers(*offsets, 2, place + ", data_offsets");
  if (!range) return fail(range.error());
  if (range->size() != 2) return damaged(place + " has not two data_offsets");
  entry.begin = (*range)[0];
  entry.end = (*range)[1];
  if (entry.begin > entry.end || entry.end > data_bytes)
    return damaged(place + " lies outside the file");
  if (entry.end - entry.begin != *bytes)
    return damaged(place + " has " + std::to_string(entry.end - entry.begin) +
                   " bytes where its shape needs " + std::to_string(*bytes));
  return entry;
}

result<void> check_metadata(const json::value& value, const std::string& source) {
  const auto* object = value.if_object();
  if (object == nullptr) return damaged(source + " has a __metadata__ that is no object");
  for (const auto& member : *object) {
    if (!member.value().is_string())
      return damaged(source + " has a __metadata__ member that is no string");
  }
  return {};
}

result<void> check_cover(const std::vector<safetensors_entry>& entries, std::uint64_t data_bytes,
                         const std::string& source) {
  std::uint64_t position = 0;
  for (const safetensors_entry& entry : entries) {
    if (entry.begin != position)
      return damaged(source + ": tensor '" + entry.name + "' leaves a hole or overlaps another");
    position = entry.end;
  }
  if (position != data_bytes)
    return damaged(source + " has " + std::to_string(data_bytes - position) +
                   " bytes behind its last tensor");
  return {};
}

}  // namespace

result<std::uint64_t> safetensors_text_bytes(
    std::span<const std::byte, safetensors_length_bytes> length, std::uint64_t file_bytes,
    const std::string& source) {
  std::uint64_t text_bytes = 0;
  std::memcpy(&text_bytes, length.data(), sizeof text_bytes);
  if (text_bytes > limits::safetensors_header_bytes_max || file_bytes < safetensors_length_bytes ||
      text_bytes > file_bytes - safetensors_length_bytes)
    return damaged(source + " claims a header of " + std::to_string(text_bytes) + " bytes");
  return text_bytes;
}

result<safetensors_header> parse_safetensors_header(std::string_view text, std::uint64_t file_bytes,
                                                    const std::string& source) {
  if (!text.starts_with('{')) return damaged(source + " has no header");
  const auto root = parse_json(text, source);
  if (!root) return fail(root.error());
  const auto* object = root->if_object();
  if (object == nullptr || object->size() > limits::safetensors_tensors_max)
    return damaged(source + " has more than " + std::to_string(limits::safetensors_tensors_max) +
                   " tensors");
  safetensors_header header;
  header.data_begin = safetensors_length_bytes + text.size();
  if (header.data_begin > file_bytes) return damaged(source + " ends inside its header");
  const std::uint64_t data_bytes = file_bytes - header.data_begin;
  header.entries.reserve(object->size());
  for (const auto& member : *object) {
    if (member.key() == "__metadata__") {
      if (const auto ok = check_metadata(member.value(), source); !ok) return fail(ok.error());
      continue;
    }
    auto entry =
        parse_entry({member.key().data(), member.key().size()}, member.value(), data_bytes, source);
    if (!entry) return fail(entry.error());
    header.entries.push_back(std::move(*entry));
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  if (const auto ok = check_cover(header.entries, data_bytes, source); !ok) return fail(ok.error());
  return header;
}

result<std::string> write_safetensors_header(
    const std::vector<safetensors_entry>& entries,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  if (entries.size() > limits::safetensors_tensors_max)
    return fail(errc::invalid_argument,
                std::to_string(entries.size()) + " tensors are too many for one file",
                "the limit is " + std::to_string(limits::safetensors_tensors_max),
                "split them over several files");
  json::object root;
  if (!metadata.empty()) {
    json::object texts;
    for (const auto& [key, value] : metadata)
      texts[key] = value;
    root["__metadata__"] = std::move(texts);
  }
  for (const safetensors_entry& entry : entries) {
    const json::array shape(entry.shape.begin(), entry.shape.end());
    root[entry.name] = {
        {"dtype", entry.type}, {"shape", shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = json::serialize(root);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > limits::safetensors_header_bytes_max)
    return fail(errc::invalid_argument,
                "the header of a file would have " + std::to_string(text.size()) + " bytes",
                "it lists too many tensors", "split them over several files");
  const std::uint64_t length = text.size();
  std::string prefix(safetensors_length_bytes, '\0');
  std::memcpy(prefix.data(), &length, sizeof length);
  return prefix + text;
}

}  // namespace troupe::storage
