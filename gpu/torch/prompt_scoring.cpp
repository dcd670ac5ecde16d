#include "gpu/torch/prompt_scoring.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/likeliest.hpp"
#include "gpu/logprob.hpp"

namespace troupe::gpu {
namespace {

at::Tensor gather_rows(const at::Tensor& hidden, std::span<const scored_row> rows) {
  const std::size_t width = extent(hidden, 1);
  at::Tensor out = make_tensor({rows.size(), width});
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(values(hidden) + rows[i].row * width, width, values(out) + i * width);
  return out;
}

void score(std::span<const float> logits, const scored_row& row) {
  const float lse = kernels::for_this_cpu().log_sum_exp(logits.size(), logits.data());
  row.out->is_finite = row.out->is_finite && std::isfinite(lse);
  const float logprob = logprob_of(logits[static_cast<std::size_t>(row.next)], lse);
  if (row.wanted->wants_prompt_logprobs) row.out->logprobs.push_back(logprob);
  if (row.wanted->topk_prompt_logprobs > 0)
    append_likeliest(logits, lse, row.wanted->topk_prompt_logprobs, row.out->topk);
  if (row.wanted->prompt_targets.empty()) return;
  const std::size_t width = row.wanted->prompt_targets.size() / (row.wanted->prompt.size() - 1);
  for (const token_id target :
       std::span(row.wanted->prompt_targets).subspan(row.position * width, width)) {
    row.out->target_logprobs.push_back(logprob_of(logits[static_cast<std::size_t>(target)], lse));
  }
}

}  // namespace

void score_prompt_rows(const decoder& model, const at::Tensor& hidden,
                       std::span<const scored_row> rows) {
  while (!rows.empty()) {
    const std::size_t vocabulary = model.vocab_size();
    const std::size_t size =
        std::min(rows.size(), std::max<std::size_t>(1, chunk_logits_max / vocabulary));
    const auto some = rows.first(size);
    std::vector<const torch_adapter*> adapters;
    for (const scored_row& row : some)
      adapters.push_back(row.adapter);
    const at::Tensor logits = model.logits(gather_rows(hidden, some), adapters);
    for (std::size_t i = 0; i < size; ++i)
      score({values(logits) + i * vocabulary, vocabulary}, some[i]);
    rows = rows.subspan(size);
  }
}

}  // namespace troupe::gpu
