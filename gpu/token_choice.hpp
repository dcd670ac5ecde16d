#pragma once

// From logits to one token. Logprobs are those of the temperature-scaled distribution over the
// whole vocabulary, before truncation removes anything; at temperature 0 they are those of the
// unscaled distribution. Truncation keeps the top_k likeliest tokens, then the smallest head of
// them that holds top_p of their probability, then those with at least min_p of the probability of
// the likeliest; ties go to the lower token.
//
// The random number is a function of (seed, sample_index, position) alone, so a sequence can be
// made again without what was sampled beside it.
//
// Threading: pure functions.

#include <cstdint>
#include <span>

#include "messages/error.hpp"
#include "messages/sampling.hpp"

namespace troupe::gpu {

struct random_key {
  std::uint64_t seed = 0;
  std::uint32_t sample_index = 0;
  std::uint64_t position = 0;  ///< of the new token in its sequence
};

/// Uniform in [0, 1).
[[nodiscard]] double uniform(const random_key& key);

/// errc::invalid_argument names the parameter that makes no sense.
[[nodiscard]] result<void> check_sampling(const sampling_params& params);

/// Overwrites `logits`. Requires: check_sampling. errc::not_finite when a logit is NaN or infinite,
/// or becomes so at this temperature.
[[nodiscard]] result<scored_token> choose_token(std::span<float> logits,
                                                const sampling_params& params,
                                                const random_key& key);

/// What a logit that is NaN or infinite says of a model.
[[nodiscard]] error damaged_logits();

}  // namespace troupe::gpu
