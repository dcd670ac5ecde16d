#pragma once

// The part of libtorch that the engine uses: tensors as owned, shaped memory of a device. Nearly
// everything that includes torch does so through this header, which is precompiled.
//
// Tensors are made on the device of this thread's placement. values() is for the processor's.
//
// Threading: pure functions.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "gpu/parallel.hpp"
#include "gpu/torch/placement.hpp"

namespace troupe::gpu {

/// Of this thread's placement.
[[nodiscard]] c10::Device current_device();

/// Uninitialised fp32 of the given shape.
[[nodiscard]] inline at::Tensor make_tensor(std::initializer_list<std::size_t> shape) {
  std::vector<std::int64_t> extents;
  for (const std::size_t extent : shape)
    extents.push_back(static_cast<std::int64_t>(extent));
  return at::empty(extents, at::TensorOptions(at::kFloat).device(current_device()));
}

[[nodiscard]] inline std::size_t extent(const at::Tensor& tensor, std::int64_t dimension) {
  return static_cast<std::size_t>(tensor.size(dimension));
}

[[nodiscard]] inline std::size_t count(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel());
}

[[nodiscard]] inline float* values(at::Tensor& tensor) {
  return tensor.mutable_data_ptr<float>();
}
[[nodiscard]] inline const float* values(const at::Tensor& tensor) {
  return tensor.const_data_ptr<float>();
}

[[nodiscard]] inline at::Tensor make_zeros(at::IntArrayRef shape) {
  at::Tensor zeros = at::empty(shape, at::TensorOptions(at::kFloat).device(current_device()));
  if (uses_library()) return zeros.zero_();
  float* const to = values(zeros);
  for_ranges(count(zeros), 32 * 1024,
             [&](std::size_t begin, std::size_t end) { std::fill(to + begin, to + end, 0.0F); });
  return zeros;
}

/// Whether a result replaces what is in its place or is added to it.
enum class write_mode : std::uint8_t { overwrite, add };

}  // namespace troupe::gpu
