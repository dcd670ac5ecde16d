#pragma once

// The kernels for GPUs as a table, so that what uses them links in builds with and without CUDA and
// includes no header of it.
//
// Threading: pure.

#include "gpu/kernels/adamw.hpp"
#include "gpu/kernels/add_rms_norm.hpp"
#include "gpu/kernels/token_logprobs.hpp"
#include "gpu/kernels/weights_digest.hpp"

namespace troupe::gpu::kernels {

struct device_table {
  result<void> (*rms_norm)(const rms_norm_rows& task, device_stream stream);
  result<void> (*rms_norm_backward)(const add_rms_norm_gradient_rows<float>& task,
                                    device_stream stream);
  result<void> (*token_logprobs)(const logprob_rows& task, device_stream stream);
  result<void> (*token_logprobs_backward)(const logprob_gradient_rows& task, device_stream stream);
  result<void> (*weights_digest)(const digest_elements& task, device_stream stream);
  result<void> (*adamw)(const adamw_task& task, device_stream stream);
};

/// Null in a build without CUDA.
[[nodiscard]] const device_table* device_kernels();

}  // namespace troupe::gpu::kernels
