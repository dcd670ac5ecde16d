#include "gpu/torch/library/batch_indices.hpp"

#include <algorithm>
#include <memory>

#include <ATen/ops/empty_like.h>

namespace troupe::gpu::library {
namespace {

std::shared_ptr<const batch_indices> make_indices(const model_config& model,
                                                  const packed_batch& batch,
                                                  const rotary_cache& rotary) {
  const std::size_t half = model.head_dim / 2;
  const auto rows = static_cast<std::int64_t>(batch.num_tokens());
  at::Tensor starts = at::empty({static_cast<std::int64_t>(batch.offsets.size())}, at::kInt);
  std::ranges::transform(batch.offsets, starts.mutable_data_ptr<std::int32_t>(),
                         [](std::size_t row) { return static_cast<std::int32_t>(row); });
  at::Tensor cosine = at::empty({rows, 1, static_cast<std::int64_t>(half)}, at::kFloat);
  at::Tensor sine = at::empty_like(cosine);
  std::size_t longest = 0;
  for (std::size_t s = 0; s < batch.num_sequences(); ++s) {
    longest = std::max(longest, batch.length(s));
    const std::size_t first = batch.offsets[s];
    for (std::size_t position = 0; position < batch.length(s); ++position) {
      std::copy_n(rotary.cosine(position), half, values(cosine) + (first + position) * half);
      std::copy_n(rotary.sine(position), half, values(sine) + (first + position) * half);
    }
  }
  const c10::Device device = current_device();
  return std::make_shared<batch_indices>(batch_indices{
      starts.to(device), cosine.to(device), sine.to(device), static_cast<std::int64_t>(longest)});
}

}  // namespace

const batch_indices& indices_of(const model_config& model, const packed_batch& batch,
                                const rotary_cache& rotary) {
  if (!batch.indices) batch.indices = make_indices(model, batch, rotary);
  return *batch.indices;
}

}  // namespace troupe::gpu::library
