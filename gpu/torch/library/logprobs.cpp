#include "gpu/torch/library/logprobs.hpp"

#include <algorithm>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/index.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/logsumexp.h>

#include "gpu/torch/library/own_kernels.hpp"
#include "gpu/torch/library/transfers.hpp"

namespace troupe::gpu::library {
namespace {

/// Targets of some rows, and the place of each one's row among them.
struct flat_targets {
  std::vector<std::size_t> places;
  std::vector<token_id> tokens;
};

template <class RowOf>
flat_targets flatten(std::size_t count, const row_targets& targets, const RowOf& row_of) {
  flat_targets flat;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t t = targets.first[row_of(i)]; t < targets.first[row_of(i) + 1]; ++t) {
      flat.places.push_back(i);
      flat.tokens.push_back(targets.tokens[t]);
    }
  return flat;
}

/// Whether each row has exactly one, which is what the kernels take.
bool is_one_each(const flat_targets& flat, std::size_t rows) {
  if (flat.places.size() != rows) return false;
  for (std::size_t i = 0; i < rows; ++i)
    if (flat.places[i] != i) return false;
  return true;
}

at::Tensor tokens_on_device(const flat_targets& flat) {
  return index_tensor(std::span(flat.tokens)).to(at::kInt);
}

}  // namespace

void score_rows(const at::Tensor& logits, std::size_t first_row, const row_targets& targets,
                head_output& out) {
  const std::size_t rows = extent(logits, 0);
  const auto flat = flatten(rows, targets, [&](std::size_t i) { return first_row + i; });
  scored_rows scored;
  if (const auto* own = own_kernels_for(logits); own != nullptr && is_one_each(flat, rows)) {
    scored = own_token_logprobs(*own, logits, tokens_on_device(flat));
  } else {
    scored.lse = at::logsumexp(logits, {1});
    const at::Tensor places = index_tensor(std::span(flat.places));
    const at::Tensor tokens = index_tensor(std::span(flat.tokens));
    // Rounding may put a target a hair above the sum.
    scored.logprobs =
        at::clamp_max(logits.index({places, tokens}) - scored.lse.index({places}), 0.0);
  }
  copy_to_host(scored.lse, std::span(out.lse).subspan(first_row, rows));
  copy_to_host(scored.logprobs,
               std::span(out.logprobs).subspan(targets.first[first_row], flat.tokens.size()));
}

void score_gradients(at::Tensor logits, std::span<const std::size_t> rows,
                     const row_targets& targets, std::span<const float> logprob_gradient,
                     std::span<const float> lse) {
  const auto flat = flatten(rows.size(), targets, [&](std::size_t i) { return rows[i]; });
  std::vector<float> of_targets;
  std::vector<float> sums(rows.size());
  std::vector<float> lse_of_rows(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    lse_of_rows[i] = lse[rows[i]];
    for (std::size_t t = targets.first[rows[i]]; t < targets.first[rows[i] + 1]; ++t) {
      of_targets.push_back(logprob_gradient[t]);
      sums[i] += logprob_gradient[t];
    }
  }
  const at::Tensor sum = copy_to_device(sums);
  const at::Tensor shift = copy_to_device(lse_of_rows);
  if (const auto* own = own_kernels_for(logits); own != nullptr && is_one_each(flat, rows.size())) {
    own_token_logprobs_backward(*own, logits, shift, tokens_on_device(flat), sum);
    return;
  }
  logits.sub_(shift.unsqueeze(1)).exp_().mul_(sum.neg().unsqueeze(1));
  logits.index_put_({index_tensor(std::span(flat.places)), index_tensor(std::span(flat.tokens))},
                    copy_to_device(of_targets), /*accumulate=*/true);
}

}  // namespace troupe::gpu::library
