#include <cstdlib>
#include <cstring>

#include "tests/fuzz/fuzz_target.hpp"
#include "tests/unit/messages/samples.hpp"

// An input is one word that picks the message (its low byte) and the frame to decode as it.

using namespace troupe;

namespace {

std::vector<std::uint64_t> to_words(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint64_t> words(size / sizeof(std::uint64_t));
  if (!words.empty()) std::memcpy(words.data(), data, words.size() * sizeof(std::uint64_t));
  return words;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint64_t> words = to_words(data, size);
  if (words.empty()) return 0;
  const auto messages = test::all_messages();
  const test::message_case& message = messages[(words[0] & 0xffU) % messages.size()];
  const auto recoded = message.recode(std::span(words).subspan(1));
  if (!recoded) return 0;
  // What was accepted must be good for another trip, and canonical by now.
  const auto again = message.recode(recoded->words());
  if (!again || again->words().size() != recoded->words().size()) std::abort();
  if (std::memcmp(again->words().data(), recoded->words().data(), again->bytes().size()) != 0)
    std::abort();
  return 0;
}

namespace troupe::fuzz {

std::vector<input> seed_inputs() {
  std::vector<input> inputs;
  const auto messages = test::all_messages();
  for (std::size_t picked = 0; picked < messages.size(); ++picked) {
    // Its own frames, and one of every other message to be mistaken for it.
    for (const test::message_case& sent : messages) {
      const std::uint64_t variants = &sent == &messages[picked] ? sent.num_variants : 1;
      for (std::uint64_t variant = 0; variant < variants; ++variant) {
        const auto frame = sent.encode_sample(variant);
        if (!frame) std::abort();
        input bytes(sizeof(std::uint64_t) + frame->bytes().size());
        bytes[0] = static_cast<std::uint8_t>(picked);
        std::memcpy(bytes.data() + sizeof(std::uint64_t), frame->bytes().data(),
                    frame->bytes().size());
        inputs.push_back(std::move(bytes));
      }
    }
  }
  return inputs;
}

}  // namespace troupe::fuzz
