#pragma once

// Struct <-> Cap'n Proto, one specialisation of `codec` per message, defined in the .cpp of its
// topic so that capnp headers stay there. Decoding is validation: enumerators, list bounds
// (config/limits.hpp), ids, finite numbers and equal lengths are checked here and nowhere later.
//
// Errors: encode: errc::frame_too_large. decode: errc::protocol for bytes that are no such message,
// errc::invalid_argument for a well-formed message that breaks a documented bound. Neither throws.
// Threading: stateless.

#include <cstdint>
#include <span>

#include "messages/error.hpp"
#include "messages/wire/frame.hpp"

namespace troupe::wire {

template <class T>
struct codec {
  static result<frame> encode(const T& value);
  static result<T> decode(std::span<const std::uint64_t> words);
};

template <class T>
[[nodiscard]] result<frame> encode(const T& value) {
  return codec<T>::encode(value);
}

template <class T>
[[nodiscard]] result<T> decode(std::span<const std::uint64_t> words) {
  return codec<T>::decode(words);
}

}  // namespace troupe::wire
