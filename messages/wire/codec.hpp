#pragma once

// Struct <-> Cap'n Proto, one `codec` per message, instantiated in the .cpp of its topic so that
// capnp headers stay there. Decoding is validation: enumerators, list bounds (config/limits.hpp),
// ids, finite numbers and equal lengths are checked here and nowhere later.
//
// Equal structs have equal bytes: frames are in Cap'n Proto's canonical form, and digests may be
// taken over them.
//
// Errors: encode: errc::frame_too_large, with how to split; errc::invalid_argument for a list over
// its limit, because a receiver would drop it. decode: errc::protocol for bytes that are no such
// message, errc::not_finite for NaN or infinite training data, errc::invalid_argument for a
// well-formed message that breaks another documented bound. Neither throws.
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

/// What the receiver will say of this message, told to the sender: a transport that drops what it
/// cannot decode would answer with a mere timeout.
template <class T>
[[nodiscard]] result<void> validate(const T& value) {
  const result<frame> encoded = encode(value);
  if (!encoded) return fail(encoded.error());
  const result<T> decoded = decode<T>(encoded->words());
  if (!decoded) return fail(decoded.error());
  return {};
}

}  // namespace troupe::wire
