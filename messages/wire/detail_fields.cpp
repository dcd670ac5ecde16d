#include "messages/wire/detail_fields.hpp"

#include "config/limits.hpp"
#include "messages/text_prefix.hpp"

namespace troupe::wire::detail {

namespace {

bool is_lower_hex(std::string_view digits) {
  for (const char c : digits) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

template <class Number>
std::vector<Number> read_numbers(typename capnp::List<Number>::Reader in, std::size_t limit,
                                 std::string_view field, checks& check) {
  std::vector<Number> values;
  if (in.size() == 0 || !check.at_most(in.size(), limit, field)) return values;
  const capnp::AnyList::Reader list(in);
  // Cap'n Proto lets a list of structs stand where numbers are meant; its block has gaps.
  if (list.getElementSize() != capnp::ElementSize::FOUR_BYTES) {
    check.refuse(errc::protocol, field, "is not a plain list of 32-bit numbers",
                 "run the same version of Troupe everywhere");
    return values;
  }
  const auto raw = list.getRawBytes();
  values.resize(in.size());
  std::memcpy(values.data(), raw.begin(), values.size() * sizeof(Number));
  return values;
}

}  // namespace

std::string prose(const std::string& value) {
  return text_prefix(value, limits::error_text_bytes_max);
}

capnp::Data::Reader data(const std::string& value) {
  return {reinterpret_cast<const kj::byte*>(value.data()), value.size()};
}

std::string read_text(capnp::Text::Reader in, std::size_t bytes_max, std::string_view field,
                      checks& check) {
  if (!check.at_most(in.size(), bytes_max, field)) return {};
  return {in.begin(), in.size()};
}

std::string read_prose(capnp::Text::Reader in, std::string_view field, checks& check) {
  return read_text(in, limits::error_text_bytes_max, field, check);
}

std::string read_data(capnp::Data::Reader in, std::size_t bytes_max, std::string_view field,
                      checks& check) {
  if (!check.at_most(in.size(), bytes_max, field)) return {};
  return {reinterpret_cast<const char*>(in.begin()), in.size()};
}

std::string read_name(capnp::Text::Reader in, presence needed, std::string_view field,
                      checks& check) {
  std::string name = read_text(in, limits::name_bytes_max, field, check);
  if (name.empty() && needed == presence::optional) return name;
  check.require(is_valid_name(name), field, "be 1 to 128 characters of [A-Za-z0-9._-]");
  return name;
}

std::string read_hash(capnp::Text::Reader in, presence needed, std::string_view field,
                      checks& check, std::size_t digits_min) {
  std::string digits = read_text(in, 64, field, check);
  if (digits.empty() && needed == presence::optional) return digits;
  check.require(digits.size() >= digits_min && is_lower_hex(digits), field,
                "be " + (digits_min < 64 ? std::to_string(digits_min) + " to " : std::string()) +
                    "64 lower-case hexadecimal digits");
  return digits;
}

void require_finite(std::span<const float> values, std::string_view field, checks& check) {
  constexpr std::uint32_t exponent = 0x7f800000U;
  bool finite = true;
  for (const float value : values)
    finite &= (std::bit_cast<std::uint32_t>(value) & exponent) != exponent;
  if (finite) return;
  check.refuse(errc::not_finite, field, "holds a NaN or an infinite number",
               "look for a division by zero or an overflow where these numbers are made");
}

std::vector<token_id> read_tokens(capnp::List<std::int32_t>::Reader in, std::size_t limit,
                                  std::string_view field, checks& check) {
  std::vector<token_id> tokens = read_numbers<std::int32_t>(in, limit, field, check);
  std::int32_t signs = 0;
  for (const token_id token : tokens)
    signs |= token;
  check.require(signs >= 0, field, "hold token ids that are not negative");
  return tokens;
}

std::vector<float> read_floats(capnp::List<float>::Reader in, std::size_t limit,
                               std::string_view field, checks& check) {
  std::vector<float> values = read_numbers<float>(in, limit, field, check);
  require_finite(values, field, check);
  return values;
}

std::vector<std::vector<float>> read_float_lists(capnp::List<capnp::List<float>>::Reader in,
                                                 std::string_view field, checks& check) {
  std::vector<std::vector<float>> lists;
  if (!check.at_most(in.size(), limits::batch_datums_max, field)) return lists;
  lists.reserve(in.size());
  for (unsigned index = 0; index < in.size() && check.ok(); ++index)
    lists.push_back(read_floats(in[index], limits::datum_tokens_max, field, check));
  return lists;
}

}  // namespace troupe::wire::detail
