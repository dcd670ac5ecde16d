#pragma once

// The one way from a struct to a frame and back. A topic's .cpp names the schema type of each of
// its messages (`schema_of`), writes `build` and `read` for them and instantiates each codec:
// `template struct codec<message>;`.
//
// Frames are in Cap'n Proto's canonical form (one segment, trailing zeros cut), so equal structs
// have equal bytes whatever order they were built in, and a field appended to a schema leaves the
// bytes of messages that do not use it as they were. Digests are taken over these bytes.
//
// Threading: pure functions.
// Errors: as messages/wire/codec.hpp says; exceptions of kj and of allocation end here.

#include <exception>
#include <string_view>

#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "config/limits.hpp"
#include "messages/wire/codec.hpp"
#include "messages/wire/detail_checks.hpp"

namespace troupe::wire::detail {

/// Names the wire type of a message: `using type = schema::X`.
template <class T>
struct schema_of;

template <class Wire>
struct is_schema {
  using type = Wire;
};

/// Largest frame of a message.
template <class T>
inline constexpr std::size_t frame_bytes_limit = limits::frame_bytes_max;

/// What a sender does about a frame that is too large.
template <class T>
inline constexpr std::string_view how_to_split = "ask for or send fewer items at a time";

/// Copies a built message into its canonical frame.
result<frame> seal(capnp::AnyPointer::Reader root, std::size_t bytes_max, std::string_view advice);

/// Bounds of size that hold before a byte is looked at.
result<void> check_frame(std::span<const std::uint64_t> words, std::size_t bytes_max);

capnp::ReaderOptions reader_options(std::size_t num_words);

error undecodable(std::string_view reason);
error unencodable(std::string_view reason, std::string_view advice);

}  // namespace troupe::wire::detail

namespace troupe::wire {

template <class T>
result<frame> codec<T>::encode(const T& value) {
  try {
    capnp::MallocMessageBuilder message;
    detail::checks check;
    build(value, message.initRoot<typename detail::schema_of<T>::type>(), check);
    if (!check.ok()) return fail(check.take());
    return detail::seal(message.getRoot<capnp::AnyPointer>().asReader(),
                        detail::frame_bytes_limit<T>, detail::how_to_split<T>);
  } catch (const kj::Exception& e) {
    return fail(detail::unencodable(e.getDescription().cStr(), detail::how_to_split<T>));
  } catch (const std::exception& e) {
    return fail(detail::unencodable(e.what(), detail::how_to_split<T>));
  }
}

template <class T>
result<T> codec<T>::decode(std::span<const std::uint64_t> words) {
  if (auto fits = detail::check_frame(words, detail::frame_bytes_limit<T>); !fits)
    return fail(fits.error());
  try {
    const auto* first = reinterpret_cast<const capnp::word*>(words.data());
    capnp::FlatArrayMessageReader reader(kj::arrayPtr(first, words.size()),
                                         detail::reader_options(words.size()));
    if (reader.getEnd() != first + words.size())
      return fail(detail::undecodable("words follow the last segment"));
    detail::checks check;
    T value = read(reader.getRoot<typename detail::schema_of<T>::type>(), check);
    if (!check.ok()) return fail(check.take());
    return value;
  } catch (const kj::Exception& e) {
    return fail(detail::undecodable(e.getDescription().cStr()));
  } catch (const std::exception& e) {
    return fail(detail::undecodable(e.what()));
  }
}

}  // namespace troupe::wire
