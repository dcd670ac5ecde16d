#pragma once

// Between memory of the host and of this thread's device. For tensors of the processor a transfer
// is a copy, or nothing.
//
// Threading: one thread; each call waits for the device.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/torch/tensors.hpp"
#include "messages/error.hpp"

namespace troupe::gpu::library {

/// int64.
[[nodiscard]] at::Tensor index_tensor(std::span<const std::int32_t> numbers);
[[nodiscard]] at::Tensor index_tensor(std::span<const std::uint32_t> numbers);
[[nodiscard]] at::Tensor index_tensor(std::span<const std::size_t> numbers);

[[nodiscard]] at::Tensor copy_to_device(std::span<const float> numbers);

/// Requires: as many elements as `into`.
void copy_to_host(const at::Tensor& from, std::span<float> into);

/// Lets fill(span) write elements [first, first + count) of a flat tensor, wherever it lies.
template <class Fill>
result<void> fill_elements(at::Tensor flat, std::uint64_t first, std::uint64_t count,
                           const Fill& fill) {
  if (flat.is_cpu()) return fill(std::span(values(flat) + first, count));
  std::vector<float> host(count);
  if (auto ok = fill(std::span(host)); !ok) return ok;
  flat.narrow(0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(count))
      .copy_(copy_to_device(host));
  return {};
}

/// The tensor itself when it is the processor's, else a copy.
[[nodiscard]] at::Tensor on_host(const at::Tensor& tensor);

}  // namespace troupe::gpu::library
