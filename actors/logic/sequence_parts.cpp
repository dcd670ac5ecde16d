#include "actors/logic/sequence_parts.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "config/limits.hpp"

namespace troupe::logic {
namespace {

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void append(likeliest_tokens& to, const likeliest_tokens& from) {
  if (from.per_position == 0) return;
  to.per_position = from.per_position;
  append(to.tokens, from.tokens);
  append(to.logprobs, from.logprobs);
}

void add_span(sampled_sequence& out, std::uint32_t first_token, std::uint64_t version) {
  const bool is_new = out.versions.empty() || out.versions.back().version != version;
  if (is_new && out.versions.size() < limits::version_spans_max)
    out.versions.push_back({first_token, version});
}

/// At most as many as there are.
template <class T>
std::vector<T> take_front(std::vector<T>& from, std::size_t size) {
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(std::min(size, from.size()));
  std::vector<T> out(from.begin(), end);
  from.erase(from.begin(), end);
  return out;
}

}  // namespace

void append_token(sampled_sequence& out, const scored_token& token, std::uint64_t version,
                  const sampling_params& params) {
  if (out.tokens.empty()) out.first_version = version;
  add_span(out, static_cast<std::uint32_t>(out.tokens.size()), version);
  out.tokens.push_back(token.token);
  out.logprobs.push_back(token.logprob);
  out.last_version = version;
  if (params.with_other_logprobs) {
    out.raw_logprobs.push_back(token.raw_logprob);
    out.sampling_logprobs.push_back(token.sampling_logprob);
  }
  if (params.topk_logprobs > 0) append(out.topk, token.topk);
}

sampled_sequence take_front(sampled_sequence& from, std::size_t size) {
  if (size == from.tokens.size()) {
    sampled_sequence whole = std::exchange(from, {});
    from.reason = whole.reason;
    return whole;
  }
  sampled_sequence out;
  out.reason = from.reason;
  out.first_version = from.first_version;
  out.tokens = take_front(from.tokens, size);
  out.logprobs = take_front(from.logprobs, size);
  out.raw_logprobs = take_front(from.raw_logprobs, size);
  out.sampling_logprobs = take_front(from.sampling_logprobs, size);
  out.topk.per_position = from.topk.per_position;
  const std::size_t cells = size * from.topk.per_position;
  out.topk.tokens = take_front(from.topk.tokens, cells);
  out.topk.logprobs = take_front(from.topk.logprobs, cells);
  const auto spans = std::exchange(from.versions, {});
  for (const version_span& span : spans) {
    if (span.first_token < size) out.versions.push_back(span);
    const auto begin = static_cast<std::uint32_t>(std::max<std::size_t>(span.first_token, size));
    if (!from.versions.empty() && from.versions.back().first_token == begin - size)
      from.versions.pop_back();
    from.versions.push_back({static_cast<std::uint32_t>(begin - size), span.version});
  }
  if (!out.versions.empty()) out.last_version = out.versions.back().version;
  if (!from.versions.empty()) from.first_version = from.versions.front().version;
  return out;
}

void append_part(sampled_sequence& whole, const sampled_sequence& part) {
  if (part.tokens.empty()) return;
  const auto before = static_cast<std::uint32_t>(whole.tokens.size());
  if (before == 0) whole.first_version = part.first_version;
  whole.last_version = part.last_version;
  for (const version_span& span : part.versions)
    add_span(whole, before + span.first_token, span.version);
  append(whole.tokens, part.tokens);
  append(whole.logprobs, part.logprobs);
  append(whole.raw_logprobs, part.raw_logprobs);
  append(whole.sampling_logprobs, part.sampling_logprobs);
  append(whole.topk, part.topk);
}

void append_chunk(sample_reply& whole, const sample_chunk& chunk) {
  if (whole.sequences.empty()) whole.sequences.resize(chunk.part.sequences.size());
  const std::size_t size = std::min(whole.sequences.size(), chunk.part.sequences.size());
  for (std::size_t i = 0; i < size; ++i)
    append_part(whole.sequences[i], chunk.part.sequences[i]);
  for (const std::uint32_t sample : chunk.ended)
    if (sample < size) whole.sequences[sample].reason = chunk.part.sequences[sample].reason;
  append(whole.prompt_logprobs, chunk.part.prompt_logprobs);
  append(whole.prompt_topk, chunk.part.prompt_topk);
  append(whole.prompt_target_logprobs, chunk.part.prompt_target_logprobs);
  whole.cached_prompt_tokens += chunk.part.cached_prompt_tokens;
}

}  // namespace troupe::logic
