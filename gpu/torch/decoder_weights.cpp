#include "gpu/torch/decoder_weights.hpp"

#include <ATen/ops/zeros.h>

#include "gpu/bf16.hpp"

namespace troupe::gpu {

decoder_weights::decoder_weights(std::span<const parameter_spec> layout) {
  for (const parameter_spec& spec : layout) {
    parameter_store& store = parameters_.emplace_back();
    if (spec.shape.size() == 1) {
      store.vector = at::zeros({static_cast<std::int64_t>(spec.shape[0])}, at::kFloat);
    } else {
      store.matrix.emplace_back(spec.shape[0], spec.shape[1]);
    }
  }
}

void decoder_weights::assign(const parameter_slice& slice, std::span<const std::uint16_t> bits) {
  parameter_store& store = parameters_[slice.parameter];
  if (!store.matrix.empty()) {
    store.matrix.front().assign(slice.begin, bits);
    return;
  }
  for (std::size_t i = 0; i < bits.size(); ++i)
    values(store.vector)[slice.begin + i] = from_bf16(bits[i]);
}

placed_patch decoder_weights::place(const element_patch& patch) const {
  const parameter_store& store = parameters_[patch.parameter];
  placed_patch placed{patch.parameter, patch.elements, patch.bits};
  if (store.matrix.empty()) return placed;
  for (std::uint64_t& element : placed.places)
    element = store.matrix.front().place(element);
  return placed;
}

void decoder_weights::replace(const placed_patch& patch) {
  parameter_store& store = parameters_[patch.parameter];
  if (!store.matrix.empty()) return store.matrix.front().replace(patch.places, patch.bits);
  for (std::size_t i = 0; i < patch.places.size(); ++i)
    values(store.vector)[patch.places[i]] = from_bf16(patch.bits[i]);
}

}  // namespace troupe::gpu
