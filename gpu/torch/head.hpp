#pragma once

// The vocabulary head as a function from hidden rows to logprobs of targets. Logits of a whole
// batch never exist: they are made for a chunk of rows, reduced to a log-sum-exp, and made again in
// the backward pass, unless they are few enough to keep. Rows whose gradient is zero (a prompt) are
// left out of the backward pass.
//
// Shapes: hidden [T, D], weight [V, D], lse [T]; logprobs [S] of all targets, a row's one after the
// other.
// Threading: called from one thread; runs on the pool.
// Source: Wijmans et al. 2024 for the recomputation.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/torch/projection.hpp"
#include "messages/ids.hpp"
#include "messages/likeliest.hpp"

namespace troupe::gpu {

/// Which tokens each row is scored on.
struct row_targets {
  std::span<const token_id> tokens;    ///< [S]
  std::span<const std::size_t> first;  ///< [T + 1]
};

/// What is told of each row's distribution beside logprobs of targets.
struct row_details {
  std::uint32_t topk = 0;
  bool entropy = false;
};

struct head_output {
  std::vector<float> logprobs;   ///< [S]
  std::vector<float> lse;        ///< [T]
  at::Tensor logits;             ///< [T, V] when kept, else undefined
  likeliest_tokens likeliest;    ///< of all rows, when wanted
  std::vector<float> entropies;  ///< [T] in nats, when wanted
};

/// Keeps the logits when they take at most `kept_bytes_max`.
[[nodiscard]] head_output head_forward(const at::Tensor& hidden, const projection& layer,
                                       const row_targets& targets, std::size_t kept_bytes_max,
                                       const row_details& wanted = {});

/// Gradient of `hidden`; those of the layer go to `gradient`. Uses up output.logits.
[[nodiscard]] at::Tensor head_backward(const at::Tensor& hidden, const projection& layer,
                                       const row_targets& targets, head_output& output,
                                       std::span<const float> logprob_gradient,
                                       const projection& gradient, write_mode mode);

}  // namespace troupe::gpu
