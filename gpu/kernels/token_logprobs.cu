#include <random>

#include "gpu/kernels/device_memory.cuh"
#include "gpu/kernels/token_logprobs.hpp"

namespace troupe::gpu::kernels {
namespace {

constexpr unsigned threads = 512;

/// Running maximum and sum of exp(value - maximum).
struct soft_sum {
  float best;
  float sum;
};

__device__ soft_sum merge(soft_sum a, soft_sum b) {
  const float best = fmaxf(a.best, b.best);
  if (best == -INFINITY) return {best, 0.0F};
  return {best, a.sum * expf(a.best - best) + b.sum * expf(b.best - best)};
}

__device__ soft_sum warp_merge(soft_sum value) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) {
    const soft_sum other{__shfl_xor_sync(0xffffffffU, value.best, offset),
                         __shfl_xor_sync(0xffffffffU, value.sum, offset)};
    value = merge(value, other);
  }
  return value;
}

__global__ void logprob_kernel(logprob_rows task) {
  const float* const z = task.logits + std::size_t{blockIdx.x} * task.vocabulary;
  soft_sum mine{-INFINITY, 0.0F};
  for (std::size_t i = threadIdx.x; i < task.vocabulary; i += threads) {
    const float value = z[i];
    if (value > mine.best) {
      mine.sum = mine.sum * expf(mine.best - value) + 1.0F;
      mine.best = value;
    } else {
      mine.sum += expf(value - mine.best);
    }
  }
  __shared__ soft_sum parts[warp_lanes];
  mine = warp_merge(mine);
  if (threadIdx.x % warp_lanes == 0) parts[threadIdx.x / warp_lanes] = mine;
  __syncthreads();
  if (threadIdx.x >= warp_lanes) return;
  constexpr unsigned warps = threads / warp_lanes;
  mine = warp_merge(threadIdx.x < warps ? parts[threadIdx.x] : soft_sum{-INFINITY, 0.0F});
  if (threadIdx.x != 0) return;
  const float lse = mine.best + logf(mine.sum);
  task.lse[blockIdx.x] = lse;
  const float logprob = z[task.targets[blockIdx.x]] - lse;
  // As fminf but for NaN, which stays.
  task.logprobs[blockIdx.x] = logprob > 0.0F ? 0.0F : logprob;
}

__global__ void logprob_backward_kernel(logprob_gradient_rows task) {
  float* const z = task.logits + std::size_t{blockIdx.x} * task.vocabulary;
  const float lse = task.lse[blockIdx.x];
  const float up = task.gradient[blockIdx.x];
  const auto target = static_cast<std::size_t>(task.targets[blockIdx.x]);
  for (std::size_t i = threadIdx.x; i < task.vocabulary; i += threads)
    z[i] = up * ((i == target ? 1.0F : 0.0F) - expf(z[i] - lse));
}

struct host_rows {
  host_rows(std::size_t rows, std::size_t vocabulary)
      : logits(rows * vocabulary), targets(rows), gradient(rows) {
    std::mt19937 random(11);
    std::normal_distribution<float> normal(0.0F, 4.0F);
    for (float& value : logits)
      value = normal(random);
    for (std::size_t row = 0; row < rows; ++row) {
      targets[row] = static_cast<std::int32_t>(random() % vocabulary);
      gradient[row] = normal(random);
    }
  }
  std::vector<float> logits;
  std::vector<std::int32_t> targets;
  std::vector<float> gradient;
};

}  // namespace

result<void> token_logprobs(const logprob_rows& task, device_stream stream) {
  if (task.rows == 0) return {};
  logprob_kernel<<<static_cast<unsigned>(task.rows), threads, 0,
                   static_cast<cudaStream_t>(stream)>>>(task);
  return cuda_done(cudaGetLastError(), "starting token_logprobs");
}

result<void> token_logprobs_backward(const logprob_gradient_rows& task, device_stream stream) {
  if (task.rows == 0) return {};
  logprob_backward_kernel<<<static_cast<unsigned>(task.rows), threads, 0,
                            static_cast<cudaStream_t>(stream)>>>(task);
  return cuda_done(cudaGetLastError(), "starting token_logprobs_backward");
}

result<std::vector<kernel_report>> check_token_logprobs(std::size_t rows, std::size_t vocabulary) {
  host_rows host(rows, vocabulary);
  std::vector<float> lse(rows);
  std::vector<float> logprobs(rows);
  token_logprobs_reference(
      {rows, vocabulary, host.logits.data(), host.targets.data(), lse.data(), logprobs.data()});
  device_array<float> logits(host.logits);
  device_array<std::int32_t> targets(host.targets);
  device_array<float> gradient(host.gradient);
  device_array<float> device_lse(rows);
  device_array<float> device_logprobs(rows);
  const logprob_rows task{rows,           vocabulary,        logits.data(),
                          targets.data(), device_lse.data(), device_logprobs.data()};
  if (auto ok = token_logprobs(task, nullptr); !ok) return fail(ok.error());
  const auto actual = device_logprobs.copy();
  if (!actual) return fail(actual.error());
  const auto gigabytes = static_cast<double>(rows * vocabulary * sizeof(float)) / 1e9;
  kernel_report forward{"token_logprobs", worst_difference(*actual, logprobs), 1e-5, 0, 0};
  forward.microseconds = best_microseconds([&] { (void)token_logprobs(task, nullptr); });
  forward.gigabytes_per_second = gigabytes / (forward.microseconds * 1e-6);

  const logprob_gradient_rows back{rows,           vocabulary,     logits.data(), device_lse.data(),
                                   targets.data(), gradient.data()};
  if (auto ok = token_logprobs_backward(back, nullptr); !ok) return fail(ok.error());
  const auto actual_gradient = logits.copy();
  if (!actual_gradient) return fail(actual_gradient.error());
  token_logprobs_backward_reference({rows, vocabulary, host.logits.data(), lse.data(),
                                     host.targets.data(), host.gradient.data()});
  kernel_report backward{"token_logprobs_backward", worst_difference(*actual_gradient, host.logits),
                         1e-5, 0, 0};
  backward.microseconds = best_microseconds([&] { (void)token_logprobs_backward(back, nullptr); });
  backward.gigabytes_per_second = 2 * gigabytes / (backward.microseconds * 1e-6);
  return std::vector<kernel_report>{forward, backward};
}

}  // namespace troupe::gpu::kernels
