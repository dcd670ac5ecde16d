#include <random>

#include "gpu/kernels/device_memory.cuh"
#include "gpu/kernels/weights_digest.hpp"
#include "messages/digest_term.hpp"

namespace troupe::gpu::kernels {
namespace {

constexpr unsigned threads = 256;
constexpr std::size_t blocks_max = 2048;

__device__ void add_warp(std::uint64_t value, std::uint64_t* sum) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  if (threadIdx.x % warp_lanes == 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
}

__global__ void digest_kernel(digest_elements task) {
  const std::uint64_t first_key = (std::uint64_t{task.parameter} << 40U) + task.first;
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  const std::size_t step = std::size_t{gridDim.x} * threads;
  for (std::size_t i = std::size_t{blockIdx.x} * threads + threadIdx.x; i < task.count; i += step) {
    const std::uint64_t bits = __float_as_uint(task.weights[i]);
    const auto term = detail::digest_term(detail::digest_place(first_key + i) + bits);
    low += term.low;
    high += term.high;
  }
  add_warp(low, task.sums);
  add_warp(high, task.sums + 1);
}

}  // namespace

result<void> weights_digest(const digest_elements& task, device_stream stream) {
  if (task.count == 0) return {};
  const std::size_t blocks = std::min(blocks_max, (task.count + threads - 1) / threads);
  digest_kernel<<<static_cast<unsigned>(blocks), threads, 0, static_cast<cudaStream_t>(stream)>>>(
      task);
  return cuda_done(cudaGetLastError(), "starting weights_digest");
}

result<std::vector<kernel_report>> check_weights_digest(std::size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> weights(count);
  for (float& weight : weights)
    weight = normal(random);
  std::vector<std::uint64_t> expected(2);
  weights_digest_reference({7, 1'000'003, count, weights.data(), expected.data()});
  device_array<float> d_weights(weights);
  device_array<std::uint64_t> d_sums(std::vector<std::uint64_t>(2));
  const digest_elements task{7, 1'000'003, count, d_weights.data(), d_sums.data()};
  if (auto ok = weights_digest(task, nullptr); !ok) return fail(ok.error());
  const auto actual = d_sums.copy();
  if (!actual) return fail(actual.error());
  kernel_report report{"weights_digest", *actual == expected ? 0.0 : 1.0, 0, 0, 0};
  report.microseconds = best_microseconds([&] { (void)weights_digest(task, nullptr); });
  const auto gigabytes = static_cast<double>(count * sizeof(float)) / 1e9;
  report.gigabytes_per_second = gigabytes / (report.microseconds * 1e-6);
  return std::vector<kernel_report>{report};
}

}  // namespace troupe::gpu::kernels
