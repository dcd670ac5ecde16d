#include "storage/safetensors_header.hpp"

#include <array>
#include <cstring>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::storage;

namespace {

/// Parses `text` as the header of a file with `data_bytes` behind it.
result<safetensors_header> parse(const std::string& text, std::uint64_t data_bytes) {
  return parse_safetensors_header(text, safetensors_length_bytes + text.size() + data_bytes,
                                  "t.safetensors");
}

std::string tensor(const std::string& name, const std::string& type, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::array<std::byte, 8> length_field(std::uint64_t value) {
  std::array<std::byte, 8> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
  const std::vector<safetensors_entry> entries = {
      {"a", "F32", {2, 3}, 0, 24}, {"scalar", "BF16", {}, 24, 26}, {"none", "F32", {0}, 26, 26}};
  const auto prefix = write_safetensors_header(entries, {{"format", "pt"}}).value();
  BOOST_TEST(prefix.size() % 8 == 0U);
  const std::uint64_t file_bytes = prefix.size() + 26;
  const auto length = std::as_bytes(std::span(prefix)).first<8>();
  const auto text_bytes = safetensors_text_bytes(length, file_bytes, "t").value();
  BOOST_TEST(text_bytes == prefix.size() - 8);
  const auto header = parse_safetensors_header(prefix.substr(8), file_bytes, "t").value();
  BOOST_TEST(header.data_begin == prefix.size());
  BOOST_TEST((header.entries == entries));
}

BOOST_AUTO_TEST_CASE(a_length_beyond_file_or_limit_is_refused) {
  BOOST_TEST(safetensors_text_bytes(length_field(92), 100, "t").has_value());
  for (const std::uint64_t claim : {std::uint64_t{93}, ~std::uint64_t{0}, std::uint64_t{1} << 63})
    BOOST_TEST(
        (safetensors_text_bytes(length_field(claim), 100, "t").error().code == errc::corrupt));
  const std::uint64_t huge = 9 * 1024 * 1024;
  BOOST_TEST(
      (safetensors_text_bytes(length_field(huge), 10 * huge, "t").error().code == errc::corrupt));
  BOOST_TEST((safetensors_text_bytes(length_field(0), 4, "t").error().code == errc::corrupt));
}

BOOST_AUTO_TEST_CASE(contradictory_headers_are_refused) {
  const std::string good = tensor("a", "F32", "[2]", "[0,8]");
  BOOST_REQUIRE(parse("{" + good + "}", 8));
  struct bad_case {
    const char* why;
    std::string text;
    std::uint64_t data_bytes;
  };
  const std::vector<bad_case> cases = {
      {"not JSON", "{" + good, 8},
      {"no object", "[1]", 8},
      {"space first", " {" + good + "}", 8},
      {"trailing text", "{" + good + "} x", 8},
      {"tail", "{" + good + "}", 9},
      {"end beyond file", "{" + good + "}", 7},
      {"duplicate name", "{" + good + "," + good + "}", 8},
      {"duplicate member",
       R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8},
      {"extra member", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8},
      {"missing member", R"({"a":{"dtype":"F32","shape":[2]}})", 8},
      {"overlap", "{" + good + "," + tensor("b", "F32", "[2]", "[4,12]") + "}", 12},
      {"hole", "{" + good + "," + tensor("b", "F32", "[2]", "[12,20]") + "}", 20},
      {"hole in front", "{" + tensor("a", "F32", "[2]", "[4,12]") + "}", 12},
      {"begin after end", "{" + tensor("a", "F32", "[2]", "[8,0]") + "}", 8},
      {"length against shape", "{" + tensor("a", "F32", "[3]", "[0,8]") + "}", 8},
      {"overflowing shape", "{" + tensor("a", "F32", "[4611686018427387904,4]", "[0,0]") + "}", 0},
      {"overflowing element", "{" + tensor("a", "F32", "[18446744073709551615]", "[0,8]") + "}", 8},
      {"negative", "{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", 8},
      {"fraction", "{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8},
      {"three offsets", "{" + tensor("a", "F32", "[2]", "[0,8,8]") + "}", 8},
      {"rank", "{" + tensor("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") + "}", 8},
      {"empty name", "{" + tensor("", "F32", "[2]", "[0,8]") + "}", 8},
      {"long name", "{" + tensor(std::string(257, 'n'), "F32", "[2]", "[0,8]") + "}", 8},
      {"metadata", "{\"__metadata__\":{\"a\":1}," + good + "}", 8},
      {"metadata kind", "{\"__metadata__\":[]," + good + "}", 8},
      {"invalid UTF-8", "{" + tensor("\xff\xfe", "F32", "[2]", "[0,8]") + "}", 8},
      {"deep nesting", "{\"a\":" + std::string(64, '[') + std::string(64, ']') + "}", 8}};
  for (const bad_case& bad : cases) {
    const auto header = parse(bad.text, bad.data_bytes);
    BOOST_TEST_CONTEXT(bad.why) {
      BOOST_REQUIRE(!header);
      BOOST_TEST((header.error().code == errc::corrupt));
      BOOST_TEST(header.error().what.find("t.safetensors") != std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_unknown_type_is_named) {
  const auto header = parse("{" + tensor("a", "F4", "[2]", "[0,1]") + "}", 1);
  BOOST_REQUIRE(!header);
  BOOST_TEST((header.error().code == errc::unsupported));
  BOOST_TEST(header.error().what.find("'F4'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(every_prefix_of_a_header_is_refused) {
  const std::string good = "{" + tensor("a", "F32", "[2]", "[0,8]") + "}";
  for (std::size_t size = 0; size < good.size(); ++size)
    BOOST_TEST(!parse(good.substr(0, size), 8).has_value());
}
