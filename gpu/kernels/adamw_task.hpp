#pragma once

// One AdamW step over a range of elements, as the kernels of processors and of GPUs take it. What
// depends on the step's number is computed once, by the caller.
//
// Units: elements. Threading: plain values. Source: Loshchilov and Hutter 2019.

#include <cstddef>
#include <cstdint>

namespace troupe::gpu::kernels {

struct adamw_task {
  std::size_t count = 0;
  float* weights = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
  const float* gradients = nullptr;
  float gradient_scale = 1;
  float learning_rate = 0;
  float beta1 = 0;
  float beta2 = 0;
  float eps = 0;
  float weight_decay = 0;
  float step_size = 0;                 ///< learning_rate / (1 - beta1^step)
  float inverse_sqrt_correction2 = 1;  ///< 1 / sqrt(1 - beta2^step)
  std::uint32_t parameter = 0;         ///< whose elements these are, from first_element on
  std::uint64_t first_element = 0;
};

}  // namespace troupe::gpu::kernels
