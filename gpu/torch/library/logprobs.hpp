#pragma once

// What stands between the two products of the vocabulary head, in the maths library's words for any
// device it knows; on a GPU with one target for each row, the kernels of this project.
//
// Shapes: logits [rows, V]; the rest as in head.hpp. Threading: one thread; results are on the
// host, so the device is waited for. Errors: the library's exceptions.

#include <span>

#include "gpu/torch/head.hpp"

namespace troupe::gpu::library {

/// Log-sum-exps and logprobs of rows [first_row, first_row + rows) into `out`.
void score_rows(const at::Tensor& logits, std::size_t first_row, const row_targets& targets,
                head_output& out);

/// Row i of `logits` becomes the gradient of row rows[i]'s logits.
void score_gradients(at::Tensor logits, std::span<const std::size_t> rows,
                     const row_targets& targets, std::span<const float> logprob_gradient,
                     std::span<const float> lse);

}  // namespace troupe::gpu::library
