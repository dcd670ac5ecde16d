#include <random>

#include "gpu/kernels/device_memory.cuh"
#include "gpu/kernels/rank_sums.hpp"

namespace troupe::gpu::kernels {
namespace {

constexpr unsigned threads = 256;
constexpr std::size_t blocks_max = 4096;

__global__ void sum_kernel(rank_sum task) {
  const std::size_t step = std::size_t{gridDim.x} * threads;
  for (std::size_t i = std::size_t{blockIdx.x} * threads + threadIdx.x; i < task.count; i += step) {
    float total = task.parts[i];
    for (std::size_t rank = 1; rank < task.ranks; ++rank)
      total += task.parts[rank * task.count + i];
    task.sum[i] = total;
  }
}

}  // namespace

result<void> sum_ranks(const rank_sum& task, device_stream stream) {
  if (task.count == 0) return {};
  const std::size_t blocks = std::min(blocks_max, (task.count + threads - 1) / threads);
  sum_kernel<<<static_cast<unsigned>(blocks), threads, 0, static_cast<cudaStream_t>(stream)>>>(
      task);
  return cuda_done(cudaGetLastError(), "starting sum_ranks");
}

result<std::vector<kernel_report>> check_sum_ranks(std::size_t ranks, std::size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> parts(ranks * count);
  for (float& part : parts)
    part = normal(random) * static_cast<float>(1 << (random() % 16));
  std::vector<float> expected(count);
  sum_ranks_reference({ranks, count, parts.data(), expected.data()});
  device_array<float> d_parts(parts);
  device_array<float> d_sum(count);
  const rank_sum task{ranks, count, d_parts.data(), d_sum.data()};
  if (auto ok = sum_ranks(task, nullptr); !ok) return fail(ok.error());
  const auto actual = d_sum.copy();
  if (!actual) return fail(actual.error());
  kernel_report report{"sum_ranks", worst_difference(*actual, expected), 0, 0, 0};
  report.microseconds = best_microseconds([&] { (void)sum_ranks(task, nullptr); });
  const auto gigabytes = static_cast<double>((ranks + 1) * count * sizeof(float)) / 1e9;
  report.gigabytes_per_second = gigabytes / (report.microseconds * 1e-6);
  return std::vector<kernel_report>{report};
}

}  // namespace troupe::gpu::kernels
