#include "gpu/torch/pass_details.hpp"

#include <cstddef>
#include <utility>

#include "gpu/torch/library/transfers.hpp"

namespace troupe::gpu {
namespace {

template <class T>
std::vector<T> rows_of(const std::vector<T>& all, std::size_t begin, std::size_t end,
                       std::size_t width = 1) {
  const auto at = [&](std::size_t row) {
    return all.begin() + static_cast<std::ptrdiff_t>(row * width);
  };
  return {at(begin), at(end)};
}

/// In double: the mean of a long text must not depend on how many rows a float can add.
std::vector<float> mean_of(const float* rows, std::size_t count, std::size_t width) {
  std::vector<double> sums(width);
  for (std::size_t i = 0; i < count * width; ++i)
    sums[i % width] += static_cast<double>(rows[i]);
  std::vector<float> mean;
  mean.reserve(width);
  for (const double sum : sums)
    mean.push_back(static_cast<float>(sum / static_cast<double>(count)));
  return mean;
}

std::vector<float> embedding_of(const at::Tensor& hidden, embedding_kind kind, std::size_t begin,
                                std::size_t end) {
  const std::size_t width = extent(hidden, 1);
  const float* const rows = values(hidden);
  if (kind == embedding_kind::mean) return mean_of(rows + begin * width, end - begin, width);
  if (kind == embedding_kind::last) begin = end - 1;
  return {rows + begin * width, rows + end * width};
}

}  // namespace

std::vector<datum_details> take_details(kept_pass& pass, const forward_details& wanted) {
  std::vector<datum_details> out;
  if (!wanted.any()) return out;
  const likeliest_tokens best = std::exchange(pass.head.likeliest, {});
  const std::vector<float> entropies = std::exchange(pass.head.entropies, {});
  at::Tensor hidden;
  if (wanted.embedding != embedding_kind::none) hidden = library::on_host(pass.final_norm.y);
  for (std::size_t s = 0; s < pass.batch.num_sequences(); ++s) {
    const std::size_t begin = pass.batch.offsets[s];
    const std::size_t end = pass.batch.offsets[s + 1];
    datum_details& each = out.emplace_back();
    if (best.per_position > 0)
      each.topk = {best.per_position, rows_of(best.tokens, begin, end, best.per_position),
                   rows_of(best.logprobs, begin, end, best.per_position)};
    if (wanted.entropy) each.entropies = rows_of(entropies, begin, end);
    if (wanted.embedding != embedding_kind::none)
      each.embedding = embedding_of(hidden, wanted.embedding, begin, end);
  }
  return out;
}

}  // namespace troupe::gpu
