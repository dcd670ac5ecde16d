#pragma once

// Messages as stored values. A frame must lie on an 8-byte boundary to be read, which bytes out of
// a database do not promise, so they are copied into words first.
//
// Threading: plain functions. Errors: encode: as messages/wire/codec.hpp. decode: errc::corrupt, as
// what this program once wrote can fail to decode only by damage or a downgrade.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "messages/wire/codec.hpp"

namespace troupe::storage {

[[nodiscard]] error undecodable_record(const error& reason);

template <class Message>
[[nodiscard]] result<std::string> encode_record(const Message& message) {
  const auto frame = wire::encode(message);
  if (!frame) return fail(frame.error());
  const auto bytes = frame->bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <class Message>
[[nodiscard]] result<Message> decode_record(std::string_view value) {
  std::vector<std::uint64_t> words(value.size() / sizeof(std::uint64_t));
  if (!words.empty()) std::memcpy(words.data(), value.data(), words.size() * sizeof(words[0]));
  auto message = wire::decode<Message>(words);
  if (!message) return fail(undecodable_record(message.error()));
  if (value.size() % sizeof(std::uint64_t) != 0)
    return fail(undecodable_record({errc::protocol, "its length is no multiple of 8", {}, {}}));
  return message;
}

}  // namespace troupe::storage
