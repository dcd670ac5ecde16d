#include "gpu/torch/library/transfers.hpp"

#include <algorithm>

namespace troupe::gpu::library {
namespace {

template <class Number>
at::Tensor indices(std::span<const Number> numbers) {
  at::Tensor host = at::empty({static_cast<std::int64_t>(numbers.size())}, at::kLong);
  std::ranges::transform(numbers, host.mutable_data_ptr<std::int64_t>(),
                         [](Number number) { return static_cast<std::int64_t>(number); });
  return host.to(current_device());
}

}  // namespace

at::Tensor index_tensor(std::span<const std::int32_t> numbers) {
  return indices(numbers);
}
at::Tensor index_tensor(std::span<const std::uint32_t> numbers) {
  return indices(numbers);
}
at::Tensor index_tensor(std::span<const std::size_t> numbers) {
  return indices(numbers);
}

at::Tensor copy_to_device(std::span<const float> numbers) {
  at::Tensor host = at::empty({static_cast<std::int64_t>(numbers.size())}, at::kFloat);
  std::ranges::copy(numbers, values(host));
  return host.to(current_device());
}

void copy_to_host(const at::Tensor& from, std::span<float> into) {
  const at::Tensor host = on_host(from).contiguous();
  std::copy_n(values(host), into.size(), into.begin());
}

at::Tensor on_host(const at::Tensor& tensor) {
  return tensor.cpu();
}

}  // namespace troupe::gpu::library
