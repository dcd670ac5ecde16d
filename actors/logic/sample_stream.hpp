#pragma once

// What a stream's reader has not fetched yet. Tokens gather here while a chunk is on its way, so a
// slow link gets few large chunks and a fast one many small ones; beyond a bound the stream is full
// and its sequences are held until the reader has caught up.
//
// Threading: a plain value, one owner.
// Invariants: STREAM-1 the chunks, put together, are the whole answer. STREAM-2 unread tokens are
//             at most limits::stream_ahead_tokens_max and one for each sample.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "messages/sampling.hpp"

namespace troupe::logic {

class sample_stream {
 public:
  explicit sample_stream(std::uint32_t num_samples) : samples_(num_samples) {}

  void add_token(std::uint32_t sample, const scored_token& token, std::uint64_t version,
                 const sampling_params& params, std::optional<stop_reason> finished);
  void set_prompt(std::vector<float> logprobs, likeliest_tokens topk, std::uint32_t cached_tokens,
                  std::vector<float> target_logprobs);

  [[nodiscard]] bool has_news() const { return num_unread_ > 0; }
  /// Nothing more should be decoded for it.
  [[nodiscard]] bool is_full() const;
  /// Decoding may go on after it was full: half of the bound is free.
  [[nodiscard]] bool has_room() const;
  /// The last chunk was taken.
  [[nodiscard]] bool is_over() const { return num_ended_ == samples_.size(); }
  [[nodiscard]] std::uint64_t next_chunk() const { return next_chunk_; }
  [[nodiscard]] std::size_t num_unread() const { return num_unread_; }

  /// Requires: has_news().
  [[nodiscard]] sample_chunk take();

 private:
  struct one_sample {
    sampled_sequence unread;
    bool has_finished = false;
  };

  std::vector<one_sample> samples_;
  sample_reply prompt_;           ///< what the next chunk says of the prompt
  std::size_t first_sample_ = 0;  ///< where the next chunk begins, so that none starves
  std::size_t num_unread_ = 0;
  std::size_t num_ended_ = 0;
  std::uint64_t next_chunk_ = 0;
};

}  // namespace troupe::logic
