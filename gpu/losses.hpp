#pragma once

// Built-in losses as functions of per-token logprobs: each gives its value and d(loss)/d(logprob),
// and the engine differentiates the model once, for them as for a loss that a user computed.
//
// With p = logprob of the target, q = supplied logprob, A = advantage, r = exp(p - q), and
// clip(r) = r bounded to [clip_low_threshold, clip_high_threshold]:
//   cross_entropy         -sum w * p
//   importance_sampling   -sum r * A
//   ppo                   -sum min(r * A, clip(r) * A)
//   cispo                 -sum constant(clip(r)) * A * p
//   dro                   -sum (p * A - beta / 2 * (p - q)^2)
//   dapo                  as ppo, with p - q bounded to +-20; where A < 0, at most
//                         -dual_clip_threshold * A when that option is given
//   gspo                  as ppo, with r = exp(mean over the sequence of p - q), at most e^10,
//                         whose derivative by each p is taken as r
//
// Options: clip_low_threshold 0.8 and clip_high_threshold 1.2 (dapo: 1.28) of ppo, cispo, dapo,
// gspo; beta 0.05 of dro; dual_clip_threshold (> 1, off unless given) of dapo. A datum may bring
// its own thresholds for each position.
//
// Units: nats; plain sums. Threading: pure functions.
// Errors: errc::invalid_argument for missing inputs, unknown options and impossible bounds.
// Source: Tinker's loss definitions, whose clip thresholds bound r itself; DAPO: Yu et al. 2025;
// GSPO: Zheng et al. 2025 (the token form); CISPO: MiniMax 2025; DRO: Richemond et al. 2024.

#include <span>
#include <vector>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

struct loss_options {
  loss_fn loss = loss_fn::cross_entropy;
  double clip_low = 0.8;
  double clip_high = 1.2;
  double beta = 0.05;
  double dual_clip = 0;  ///< 0: none
};

[[nodiscard]] result<loss_options> read_loss_options(loss_fn loss, const loss_fn_config& config);

/// Requires nothing of `data`: what the loss needs must be there, at the length of the targets.
[[nodiscard]] result<void> check_loss_inputs(const loss_options& options, const datum& data);

struct loss_value {
  double loss = 0;
  std::vector<float> logprob_gradient;
};

/// Requires: check_loss_inputs, logprobs.size() == data.target_tokens.size().
[[nodiscard]] loss_value evaluate_loss(const loss_options& options, const datum& data,
                                       std::span<const float> logprobs);

}  // namespace troupe::gpu
