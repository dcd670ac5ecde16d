#pragma once

// What stands between two blocks of a transformer, fused: the residual stream takes a block's
// output in and is normalised for the next one, in one pass over memory instead of three. Values
// are bf16 or fp32; sums are fp32.
//
// Shapes: x, residual, y and their gradients [T, D]; weight [D]; rstd [T].
// Threading: asynchronous on the stream. Errors: errc::engine when a launch is refused.
// Invariants: NORM-1 a row's results depend on that row only. NORM-2 the weight's gradient is a
//             sum over tiles of rows in a fixed order.

#include "gpu/kernels/device_kernel.hpp"
#include "messages/error.hpp"

namespace troupe::gpu::kernels {

/// The norm alone, in fp32.
struct rms_norm_rows {
  std::size_t rows = 0;
  std::size_t width = 0;
  const float* x = nullptr;
  const float* weight = nullptr;
  float eps = 0;
  float* y = nullptr;
  float* rstd = nullptr;
};

/// residual += x; y = residual * rstd * weight with rstd = 1 / sqrt(mean(residual^2) + eps).
/// Without x nothing is added, and residual is only read.
template <class T>
struct add_rms_norm_rows {
  std::size_t rows = 0;
  std::size_t width = 0;
  const T* x = nullptr;
  T* residual = nullptr;
  const T* weight = nullptr;
  float eps = 0;
  T* y = nullptr;
  float* rstd = nullptr;
};

/// residual_gradient, which holds what comes along the residual stream, takes in the gradient
/// through y; it is then that of x as well.
template <class T>
struct add_rms_norm_gradient_rows {
  std::size_t rows = 0;
  std::size_t width = 0;
  const T* residual = nullptr;  ///< after the addition
  const T* weight = nullptr;
  const float* rstd = nullptr;
  const T* y_gradient = nullptr;
  T* residual_gradient = nullptr;
  float* weight_gradient = nullptr;  ///< [D], added to
  float* scratch = nullptr;          ///< add_rms_norm_scratch() elements
};

/// Rows whose part of the weight's gradient one block sums.
inline constexpr std::size_t norm_tile_rows = 64;

[[nodiscard]] constexpr std::size_t add_rms_norm_scratch(std::size_t rows, std::size_t width) {
  return (rows + norm_tile_rows - 1) / norm_tile_rows * width;
}

/// On memory of the host, in fp32.
void add_rms_norm_reference(const add_rms_norm_rows<float>& task);
void add_rms_norm_backward_reference(const add_rms_norm_gradient_rows<float>& task);

/// On memory of the device; T is float or __nv_bfloat16.
[[nodiscard]] result<void> rms_norm(const rms_norm_rows& task, device_stream stream);
template <class T>
[[nodiscard]] result<void> add_rms_norm(const add_rms_norm_rows<T>& task, device_stream stream);
template <class T>
[[nodiscard]] result<void> add_rms_norm_backward(const add_rms_norm_gradient_rows<T>& task,
                                                 device_stream stream);

/// Forward and backward in both types against the references, and their times.
[[nodiscard]] result<std::vector<kernel_report>> check_add_rms_norm(std::size_t rows,
                                                                    std::size_t width);

}  // namespace troupe::gpu::kernels
