#include "messages/tinker/sample_output.hpp"

#include <algorithm>
#include <limits>

#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {
namespace {

/// Of positions that have no likeliest tokens.
constexpr float absent_logprob = -99999.0F;

void fill(tinker_public::TopkLogprobs& out, const likeliest_tokens& rows, std::size_t num_rows,
          std::size_t num_hidden) {
  const std::size_t k = rows.per_position;
  const std::size_t num_known = rows.tokens.size() / k;
  const std::size_t num_absent = num_rows - std::min(num_rows, num_known);
  std::vector<token_id> tokens(num_rows * k, 0);
  std::vector<float> logprobs(num_rows * k, absent_logprob);
  for (std::size_t row = std::max(num_absent, num_hidden); row < num_rows; ++row) {
    for (std::size_t i = 0; i < k; ++i) {
      tokens[row * k + i] = rows.tokens[(row - num_absent) * k + i];
      logprobs[row * k + i] = rows.logprobs[(row - num_absent) * k + i];
    }
  }
  out.set_token_ids(detail::bytes_of(tokens));
  out.set_logprobs(detail::bytes_of(logprobs));
  out.set_k(static_cast<std::uint32_t>(k));
  out.set_length(static_cast<std::uint32_t>(num_rows));
}

bool has_rows(const likeliest_tokens& rows) {
  return rows.per_position > 0 && rows.tokens.size() == rows.logprobs.size() &&
         !rows.tokens.empty();
}

}  // namespace

std::string encode_sample_output(const sample_reply& reply, const shown_prompt& prompt) {
  tinker_public::SampleResponse out;
  for (const sampled_sequence& sequence : reply.sequences) {
    auto* row = out.add_sequences();
    row->set_stop_reason(sequence.reason == stop_reason::stop ? tinker_public::STOP_REASON_STOP
                                                              : tinker_public::STOP_REASON_LENGTH);
    row->set_tokens(detail::bytes_of(sequence.tokens));
    row->set_logprobs(detail::bytes_of(sequence.logprobs));
    if (has_rows(sequence.topk)) {
      fill(*row->mutable_topk_sampled_logprobs(), sequence.topk, sequence.tokens.size(), 0);
    }
  }
  const std::size_t num_hidden =
      prompt.num_last == 0 ? 0 : prompt.num_tokens - std::min(prompt.num_tokens, prompt.num_last);
  if (!reply.prompt_logprobs.empty()) {
    std::vector<float> shown(prompt.num_tokens, std::numeric_limits<float>::quiet_NaN());
    const std::size_t count = std::min(prompt.num_tokens, reply.prompt_logprobs.size() + 1);
    for (std::size_t i = std::max<std::size_t>(1, num_hidden); i < count; ++i)
      shown[i] = reply.prompt_logprobs[i - 1];
    out.set_prompt_logprobs(detail::bytes_of(shown));
  }
  if (has_rows(reply.prompt_topk)) {
    fill(*out.mutable_topk_prompt_logprobs(), reply.prompt_topk, prompt.num_tokens, num_hidden);
  }
  if (prompt.targets) {
    fill_tensor(*out.mutable_target_prompt_logprobs(), *prompt.targets,
                reply.prompt_target_logprobs);
  }
  out.set_prompt_cache_hit_tokens(static_cast<std::int32_t>(reply.cached_prompt_tokens));
  return out.SerializeAsString();
}

}  // namespace troupe::tinker
