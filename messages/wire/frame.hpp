#pragma once

// An encoded message: one contiguous, 8-byte aligned Cap'n Proto frame, segment table included.
// Immutable and shared, so that a frame can be sent to many receivers without a copy.
//
// Threading: a frame may be read from any thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace troupe::wire {

class frame {
 public:
  frame() = default;
  frame(std::shared_ptr<const std::uint64_t[]> words, std::size_t num_words)
      : words_(std::move(words)), num_words_(num_words) {}

  [[nodiscard]] std::span<const std::uint64_t> words() const { return {words_.get(), num_words_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(words()); }

 private:
  std::shared_ptr<const std::uint64_t[]> words_;
  std::size_t num_words_ = 0;
};

}  // namespace troupe::wire
