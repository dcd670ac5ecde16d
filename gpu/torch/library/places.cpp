#include "gpu/torch/library/places.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sum.h>

#include "gpu/torch/library/transfers.hpp"

namespace troupe::gpu::library {
namespace {

std::size_t per_row(const routing& choice) {
  const std::size_t rows = extent(choice.probabilities, 0);
  return rows == 0 ? 1 : choice.picks.size() / rows;
}

}  // namespace

at::Tensor softmax_rows(const at::Tensor& logits) {
  return at::softmax(logits, 1);
}

at::Tensor gather_places(const routing& choice, const at::Tensor& x) {
  const std::size_t k = per_row(choice);
  std::vector<std::size_t> rows(choice.num_places());
  for (std::size_t place = 0; place < rows.size(); ++place)
    rows[place] = choice.slots[place] / k;
  return at::index_select(x, 0, index_tensor(std::span<const std::size_t>(rows)));
}

void add_places(const routing& choice, const at::Tensor& places, at::Tensor sum) {
  const std::size_t k = per_row(choice);
  const std::size_t rows = choice.num_places() / k;
  std::vector<std::size_t> place_of(choice.num_places());
  for (std::size_t place = 0; place < place_of.size(); ++place)
    place_of[choice.slots[place]] = place;
  std::vector<std::size_t> of_pick(rows);
  for (std::size_t j = 0; j < k; ++j) {
    for (std::size_t row = 0; row < rows; ++row)
      of_pick[row] = place_of[row * k + j];
    sum.add_(at::index_select(places, 0, index_tensor(std::span<const std::size_t>(of_pick))));
  }
}

void scale_places(const routing& choice, at::Tensor places) {
  std::vector<float> weights(choice.num_places());
  for (std::size_t place = 0; place < weights.size(); ++place)
    weights[place] = choice.weights[choice.slots[place]];
  places.mul_(copy_to_device(weights).unsqueeze(1));
}

std::vector<float> dot_places(const routing& choice, const at::Tensor& a, const at::Tensor& b) {
  std::vector<float> by_place(choice.num_places());
  copy_to_host(at::sum(a * b, {1}), by_place);
  std::vector<float> by_slot(by_place.size());
  for (std::size_t place = 0; place < by_place.size(); ++place)
    by_slot[choice.slots[place]] = by_place[place];
  return by_slot;
}

}  // namespace troupe::gpu::library
