#pragma once

// Fields of a message: texts, names, digests, enumerators and lists, each with its check. Lists of
// numbers are copied as blocks, because a batch holds millions of them; this needs a little-endian
// machine, as Cap'n Proto's fast paths do.
//
// Threading: pure functions over the `checks` of one message.
// Errors: in `checks`; a refused field reads as empty or zero.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <capnp/any.h>
#include <capnp/blob.h>
#include <capnp/list.h>

#include "config/limits.hpp"
#include "messages/ids.hpp"
#include "messages/wire/detail_checks.hpp"

namespace troupe::wire::detail {

static_assert(std::endian::native == std::endian::little, "lists are copied without swapping");

enum class presence : std::uint8_t { required, optional };

// -- texts ---------------------------------------------------------------------------------------

[[nodiscard]] inline capnp::Text::Reader text(const std::string& value) {
  return {value.c_str(), value.size()};
}

/// Words for people, cut to what a receiver accepts: half a sentence beats a lost message.
[[nodiscard]] std::string prose(const std::string& value);

[[nodiscard]] capnp::Data::Reader data(const std::string& value);

[[nodiscard]] std::string read_text(capnp::Text::Reader in, std::size_t bytes_max,
                                    std::string_view field, checks& check);

[[nodiscard]] std::string read_prose(capnp::Text::Reader in, std::string_view field, checks& check);

[[nodiscard]] std::string read_data(capnp::Data::Reader in, std::size_t bytes_max,
                                    std::string_view field, checks& check);

/// A valid name (messages/ids.hpp), or empty where that has a meaning.
[[nodiscard]] std::string read_name(capnp::Text::Reader in, presence needed, std::string_view field,
                                    checks& check);

/// Lower-case hexadecimal digits: 64 of them, or a prefix of at least `digits_min`.
[[nodiscard]] std::string read_hash(capnp::Text::Reader in, presence needed, std::string_view field,
                                    checks& check, std::size_t digits_min = 64);

// -- numbers -------------------------------------------------------------------------------------

/// Refuses numbers this build does not know. `last` is the highest enumerator.
template <class Enum, class Wire>
[[nodiscard]] Enum read_enum(Wire in, Enum last, std::string_view field, checks& check) {
  const auto number = static_cast<std::uint16_t>(in);
  if (number > static_cast<std::uint16_t>(last)) {
    check.refuse(errc::protocol, field, "has an unknown enumerator " + std::to_string(number),
                 "run the same version of Troupe everywhere");
    return Enum{};
  }
  return static_cast<Enum>(number);
}

template <class Wire, class Enum>
[[nodiscard]] Wire wire_enum(Enum value) {
  return static_cast<Wire>(static_cast<std::uint16_t>(value));
}

[[nodiscard]] inline double read_not_negative(double value, std::string_view field, checks& check) {
  check.require(std::isfinite(value) && value >= 0.0, field, "be finite and not negative");
  return value;
}

void require_finite(std::span<const float> values, std::string_view field, checks& check);

[[nodiscard]] std::vector<token_id> read_tokens(capnp::List<std::int32_t>::Reader in,
                                                std::size_t limit, std::string_view field,
                                                checks& check);

[[nodiscard]] std::vector<float> read_floats(capnp::List<float>::Reader in, std::size_t limit,
                                             std::string_view field, checks& check);

[[nodiscard]] std::vector<std::vector<float>> read_float_lists(
    capnp::List<capnp::List<float>>::Reader in, std::string_view field, checks& check);

/// `init(n)` makes the list; an empty one is left out.
template <class Number, class Init>
void write_numbers(const std::vector<Number>& values, std::size_t limit, std::string_view field,
                   checks& check, Init init) {
  static_assert(std::is_trivially_copyable_v<Number> && sizeof(Number) == 4);
  if (values.empty() || !check.at_most(values.size(), limit, field)) return;
  typename capnp::List<Number>::Builder out = init(static_cast<unsigned>(values.size()));
  const auto raw = capnp::AnyList::Reader(out.asReader()).getRawBytes();
  // The builder's own memory, just allocated: writing it in one piece is what `set` does in many.
  std::memcpy(const_cast<kj::byte*>(raw.begin()), values.data(), values.size() * sizeof(Number));
}

template <class Init>
void write_float_lists(const std::vector<std::vector<float>>& values, std::string_view field,
                       checks& check, Init init) {
  if (values.empty() || !check.at_most(values.size(), limits::batch_datums_max, field)) return;
  capnp::List<capnp::List<float>>::Builder out = init(static_cast<unsigned>(values.size()));
  unsigned index = 0;
  for (const std::vector<float>& list : values) {
    write_numbers(list, limits::datum_tokens_max, field, check,
                  [&](unsigned n) { return out.init(index, n); });
    ++index;
  }
}

// -- lists of structs: `build` and `read` are found by the namespace of `checks`
// --------------------

template <class T, class Init>
void write_list(const std::vector<T>& items, std::size_t limit, std::string_view field,
                checks& check, Init init) {
  if (items.empty() || !check.at_most(items.size(), limit, field)) return;
  auto out = init(static_cast<unsigned>(items.size()));
  unsigned index = 0;
  for (const T& item : items) {
    build(item, out[index], check);
    if (!check.ok()) return check.locate(field, index);
    ++index;
  }
}

template <class T, class List>
[[nodiscard]] std::vector<T> read_list(List in, std::size_t limit, std::string_view field,
                                       checks& check) {
  std::vector<T> items;
  if (!check.at_most(in.size(), limit, field)) return items;
  items.reserve(in.size());
  for (unsigned index = 0; index < in.size(); ++index) {
    items.push_back(read(in[index], check));
    if (!check.ok()) {
      check.locate(field, index);
      break;
    }
  }
  return items;
}

}  // namespace troupe::wire::detail
