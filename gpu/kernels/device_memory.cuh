#pragma once

// What the checkers and launchers of kernels share: errors in words, memory that frees itself, sums
// over a block, and times by events.
//
// Threading: one thread. Errors: errc::engine with CUDA's words.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <cuda_runtime.h>

#include "messages/error.hpp"

namespace troupe::gpu::kernels {

inline result<void> cuda_done(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return {};
  return fail(errc::engine, std::string(doing) + " failed: " + cudaGetErrorString(status),
              "the device was lost, is out of memory, or the kernel has a bug",
              "look at the device with nvidia-smi");
}

/// Elements on the device.
template <class T>
class device_array {
 public:
  explicit device_array(std::size_t count) : count_(count) {
    status_ = cudaMalloc(&data_, std::max<std::size_t>(1, count) * sizeof(T));
  }
  explicit device_array(const std::vector<T>& values) : device_array(values.size()) {
    fill(values);
  }
  ~device_array() { cudaFree(data_); }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;

  [[nodiscard]] T* data() { return static_cast<T*>(data_); }

  void fill(const std::vector<T>& values) {
    if (status_ == cudaSuccess)
      status_ = cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  /// Waits for the device.
  [[nodiscard]] result<std::vector<T>> copy() {
    std::vector<T> values(count_);
    if (status_ == cudaSuccess)
      status_ = cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    if (auto ok = cuda_done(status_, "copying from the device"); !ok) return fail(ok.error());
    return values;
  }

 private:
  std::size_t count_;
  void* data_ = nullptr;
  cudaError_t status_ = cudaSuccess;
};

constexpr int warp_lanes = 32;

__device__ inline float warp_sum(float value) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}

/// The same sum on every thread. Requires: all threads of the block, at most 32 warps.
__device__ inline float block_sum(float value) {
  __shared__ float parts[warp_lanes];
  const unsigned warp = threadIdx.x / warp_lanes;
  const unsigned lane = threadIdx.x % warp_lanes;
  value = warp_sum(value);
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  const float part = lane < blockDim.x / warp_lanes ? parts[lane] : 0.0F;
  const float sum = warp_sum(part);
  __syncthreads();
  return sum;
}

/// Best of several runs, in microseconds; 0 when the device refuses to time.
template <class Run>
double best_microseconds(const Run& run) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  if (cudaEventCreate(&begin) != cudaSuccess || cudaEventCreate(&end) != cudaSuccess) return 0;
  float best = std::numeric_limits<float>::infinity();
  for (int repeat = 0; repeat < 20; ++repeat) {
    cudaEventRecord(begin);
    run();
    cudaEventRecord(end);
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    best = std::min(best, milliseconds);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return static_cast<double>(best) * 1e3;
}

/// Largest difference, relative to the largest expected value; infinite for NaN.
inline double worst_difference(std::span<const float> actual, std::span<const float> expected) {
  double worst = 0;
  double largest = std::numeric_limits<double>::min();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(difference <= std::numeric_limits<double>::max()))
      return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return worst / largest;
}

}  // namespace troupe::gpu::kernels
