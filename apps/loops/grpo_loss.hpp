#pragma once

// The objective of group relative policy optimisation, as a plain function over logprobs: what a
// user edits to try another one. Each prompt is answered several times; an answer's advantage is
// its reward against its own group, so no value model is needed.
//
// loss = -sum_i sum_t min(r * A, clip(r, 1 - low, 1 + high) * A) / token_count, with
// r = exp(logprob - sampled logprob) of each answer token.
//
// Shapes: one entry per answer, then one per position of its datum; positions of the prompt have a
// zero mask. Threading: pure functions. Errors: errc::invalid_argument when lengths differ,
// errc::not_finite.
// Source: DeepSeekMath (2024) section 4.1; token-level normalisation as in DAPO (2025).

#include <cstddef>
#include <span>
#include <vector>

#include "messages/error.hpp"

namespace troupe::loops {

struct clip_range {
  double low = 0.2;
  double high = 0.2;
};

/// Rewards of consecutive groups of `group_size` -> (reward - mean) / (deviation + 1e-4).
[[nodiscard]] result<std::vector<float>> group_advantages(std::span<const float> rewards,
                                                          std::size_t group_size);

struct answer_terms {
  std::vector<float> sampled_logprobs;  ///< under the policy that sampled
  std::vector<float> mask;              ///< 1 on answer tokens
  float advantage = 0;
};

struct grpo_value {
  double loss = 0;
  double clipped_share = 0;                   ///< of answer tokens
  std::vector<std::vector<float>> gradients;  ///< d(loss)/d(logprob)
};

[[nodiscard]] result<grpo_value> grpo_loss(std::span<const std::vector<float>> logprobs,
                                           std::span<const answer_terms> answers,
                                           const clip_range& clip);

}  // namespace troupe::loops
