#pragma once

// Logprobs of a prompt's own tokens, computed while the prompt passes through the model. Only the
// rows asked for meet the vocabulary head, a bounded number at a time, so that a long prompt costs
// no more memory than a short one.
//
// Shapes: hidden [R, D]. Threading: called from one thread; runs on the pool.

#include <cstddef>
#include <span>

#include "gpu/sampler_engine.hpp"
#include "gpu/torch/decoder.hpp"

namespace troupe::gpu {

/// Logits that exist at once.
inline constexpr std::size_t chunk_logits_max = 16 * 1024 * 1024;

/// A row whose next token belongs to the prompt too.
struct scored_row {
  std::size_t row = 0;
  token_id next = 0;
  const torch_adapter* adapter = nullptr;
  std::size_t position = 0;  ///< in its prompt
  const sequence_start* wanted = nullptr;
  prompt_scores* out = nullptr;
};

/// Appends to the scores of each row's sequence, in the order of `rows`.
void score_prompt_rows(const decoder& model, const at::Tensor& hidden,
                       std::span<const scored_row> rows);

}  // namespace troupe::gpu
