#pragma once

// The vocabulary head between its matrix products: one pass over a row of logits gives its
// log-sum-exp and the logprob of its target, and one pass in place turns logits into their
// gradient. Logits stay fp32, because bf16 ones are as coarse as the differences that training is
// about.
//
// Shapes: logits [T, V], the rest [T].
// Threading: asynchronous on the stream. Errors: errc::engine when a launch is refused.
// Invariants: LOGPROB-1 a row's results depend on that row only, and no logprob is above 0.

#include <cstdint>

#include "gpu/kernels/device_kernel.hpp"
#include "messages/error.hpp"

namespace troupe::gpu::kernels {

struct logprob_rows {
  std::size_t rows = 0;
  std::size_t vocabulary = 0;
  const float* logits = nullptr;
  const std::int32_t* targets = nullptr;
  float* lse = nullptr;
  float* logprobs = nullptr;
};

struct logprob_gradient_rows {
  std::size_t rows = 0;
  std::size_t vocabulary = 0;
  float* logits = nullptr;  ///< become gradient * d logprob / d logits
  const float* lse = nullptr;
  const std::int32_t* targets = nullptr;
  const float* gradient = nullptr;
};

/// On memory of the host.
void token_logprobs_reference(const logprob_rows& task);
void token_logprobs_backward_reference(const logprob_gradient_rows& task);

/// On memory of the device.
[[nodiscard]] result<void> token_logprobs(const logprob_rows& task, device_stream stream);
[[nodiscard]] result<void> token_logprobs_backward(const logprob_gradient_rows& task,
                                                   device_stream stream);

/// Forward and backward against the references, and their times.
[[nodiscard]] result<std::vector<kernel_report>> check_token_logprobs(std::size_t rows,
                                                                      std::size_t vocabulary);

}  // namespace troupe::gpu::kernels
