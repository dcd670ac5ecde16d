#include "messages/wire/detail_codec.hpp"

#include <memory>
#include <string>

namespace troupe::wire::detail {

namespace {

constexpr std::size_t word_bytes = sizeof(std::uint64_t);

error too_large(std::size_t bytes, std::size_t bytes_max, std::string_view advice) {
  return {errc::frame_too_large,
          "the message has " + std::to_string(bytes) + " bytes, one may have " +
              std::to_string(bytes_max),
          "too much was put into one message", std::string(advice)};
}

}  // namespace

result<frame> seal(capnp::AnyPointer::Reader root, std::size_t bytes_max, std::string_view advice) {
  // The canonical form is never larger than the built one.
  const std::size_t root_words = static_cast<std::size_t>(root.targetSize().wordCount) + 1;
  const std::size_t num_words = root_words + 1;
  if (num_words * word_bytes > bytes_max)
    return fail(too_large(num_words * word_bytes, bytes_max, advice));
  // Zeroed, as Cap'n Proto expects of memory it builds in.
  auto words = std::make_shared<std::uint64_t[]>(num_words);
  capnp::FlatMessageBuilder flat(
      kj::arrayPtr(reinterpret_cast<capnp::word*>(words.get() + 1), root_words));
  flat.getRoot<capnp::AnyPointer>().setCanonical(root);
  const std::size_t used_words = flat.getSegmentsForOutput()[0].size();
  // The segment table of one segment: count - 1 in the low half, its length in the high one.
  words[0] = std::uint64_t{used_words} << 32U;
  return frame(std::move(words), used_words + 1);
}

result<void> check_frame(std::span<const std::uint64_t> words, std::size_t bytes_max) {
  if (words.empty()) return fail(undecodable("it is empty"));
  if (words.size_bytes() > bytes_max) {
    return fail(errc::invalid_argument,
                "a frame of " + std::to_string(words.size_bytes()) +
                    " bytes is over the limit of " + std::to_string(bytes_max),
                "the sender did not check its size", "split the message");
  }
  return {};
}

capnp::ReaderOptions reader_options(std::size_t num_words) {
  capnp::ReaderOptions options;
  // Every word is read once or twice; more means pointers that share a target to multiply work.
  options.traversalLimitInWords = 2 * num_words + 1024;
  options.nestingLimit = 64;
  return options;
}

error undecodable(std::string_view reason) {
  return {errc::protocol, "a received message cannot be decoded: " + std::string(reason),
          "bytes were damaged, or the peer runs another version",
          "run the same version of Troupe everywhere"};
}

error unencodable(std::string_view reason, std::string_view advice) {
  return {errc::frame_too_large, "a message cannot be encoded: " + std::string(reason),
          "a list or text is longer than the wire format can say", std::string(advice)};
}

}  // namespace troupe::wire::detail
