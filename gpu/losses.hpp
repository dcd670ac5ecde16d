#pragma once

// Built-in losses as functions of per-token logprobs: each gives its value and d(loss)/d(logprob),
// and the engine differentiates the model once, for them as for a loss that a user computed.
//
// With p = logprob of the target, q = supplied logprob, A = advantage, r = exp(p - q):
//   cross_entropy         -sum w * p
//   importance_sampling   -sum r * A
//   ppo                   -sum min(r * A, clip(r, low, high) * A)
//
// Units: nats; plain sums. Threading: pure functions.
// Errors: errc::invalid_argument for missing inputs, unknown options and impossible bounds.
// Source: Tinker's loss definitions; the clip thresholds bound r itself.

#include <span>
#include <vector>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

struct loss_options {
  loss_fn loss = loss_fn::cross_entropy;
  double clip_low = 0.8;
  double clip_high = 1.2;
};

[[nodiscard]] result<loss_options> read_loss_options(loss_fn loss, const loss_fn_config& config);

/// Requires nothing of `data`: what the loss needs must be there, at the length of the tokens.
[[nodiscard]] result<void> check_loss_inputs(const loss_options& options, const datum& data);

struct loss_value {
  double loss = 0;
  std::vector<float> logprob_gradient;
};

/// Requires: check_loss_inputs, logprobs.size() == data.tokens.size().
[[nodiscard]] loss_value evaluate_loss(const loss_options& options, const datum& data,
                                       std::span<const float> logprobs);

}  // namespace troupe::gpu
