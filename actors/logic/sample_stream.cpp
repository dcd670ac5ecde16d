#include "actors/logic/sample_stream.hpp"

#include <algorithm>
#include <utility>

#include "actors/logic/sequence_parts.hpp"
#include "config/limits.hpp"

namespace troupe::logic {

void sample_stream::add_token(std::uint32_t sample, const scored_token& token,
                              std::uint64_t version, const sampling_params& params,
                              std::optional<stop_reason> finished) {
  one_sample& to = samples_[sample];
  append_token(to.unread, token, version, params);
  ++num_unread_;
  if (!finished) return;
  to.has_finished = true;
  to.unread.reason = *finished;
}

void sample_stream::set_prompt(std::vector<float> logprobs, likeliest_tokens topk,
                               std::uint32_t cached_tokens, std::vector<float> target_logprobs) {
  prompt_.prompt_logprobs = std::move(logprobs);
  prompt_.prompt_topk = std::move(topk);
  prompt_.cached_prompt_tokens = cached_tokens;
  prompt_.prompt_target_logprobs = std::move(target_logprobs);
}

bool sample_stream::is_full() const {
  return num_unread_ >= limits::stream_ahead_tokens_max;
}

bool sample_stream::has_room() const {
  return num_unread_ <= limits::stream_ahead_tokens_max / 2;
}

sample_chunk sample_stream::take() {
  sample_chunk out;
  out.chunk = next_chunk_++;
  out.part = std::exchange(prompt_, {});
  out.part.sequences.resize(samples_.size());
  std::size_t left = limits::stream_chunk_tokens_max;
  for (std::size_t i = 0; i < samples_.size() && left > 0; ++i) {
    const std::size_t sample = (first_sample_ + i) % samples_.size();
    one_sample& from = samples_[sample];
    const std::size_t size = std::min(left, from.unread.tokens.size());
    if (size == 0) continue;
    out.part.sequences[sample] = take_front(from.unread, size);
    left -= size;
    num_unread_ -= size;
    if (from.has_finished && from.unread.tokens.empty()) {
      out.ended.push_back(static_cast<std::uint32_t>(sample));
      ++num_ended_;
    }
  }
  first_sample_ = (first_sample_ + 1) % samples_.size();
  std::ranges::sort(out.ended);
  out.is_last = is_over();
  return out;
}

}  // namespace troupe::logic
