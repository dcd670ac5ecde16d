#include "gpu/torch/library/own_kernels.hpp"

#include <stdexcept>
#include <string>

namespace troupe::gpu::library {
namespace {

void require(const result<void>& started) {
  if (!started) throw std::runtime_error(started.error().what);
}

}  // namespace

const kernels::device_table* own_kernels_for(const at::Tensor& tensor) {
  return tensor.is_cuda() ? kernels::device_kernels() : nullptr;
}

normed own_rms_norm(const kernels::device_table& own, const at::Tensor& x, const at::Tensor& weight,
                    double eps) {
  const at::Tensor rows = x.contiguous();
  normed out{make_tensor({extent(x, 0), extent(x, 1)}), make_tensor({extent(x, 0)})};
  kernels::rms_norm_rows task;
  task.rows = extent(x, 0);
  task.width = extent(x, 1);
  task.x = values(rows);
  task.weight = values(weight);
  task.eps = static_cast<float>(eps);
  task.y = values(out.y);
  task.rstd = values(out.rstd);
  require(own.rms_norm(task, nullptr));
  return out;
}

void own_rms_norm_backward(const kernels::device_table& own, const norm_inputs& in, at::Tensor& dx,
                           at::Tensor& weight_gradient, write_mode mode) {
  const std::size_t rows = extent(in.x, 0);
  const std::size_t width = extent(in.x, 1);
  at::Tensor scratch = make_tensor({kernels::add_rms_norm_scratch(rows, width)});
  // The kernel always sums it; what is frozen has nowhere else to go.
  at::Tensor sum = weight_gradient.defined() ? weight_gradient : make_zeros({in.x.size(1)});
  if (mode == write_mode::overwrite) sum.zero_();
  kernels::add_rms_norm_gradient_rows<float> task;
  task.rows = rows;
  task.width = width;
  task.residual = values(in.x);
  task.weight = values(in.weight);
  task.rstd = values(in.rstd);
  task.y_gradient = values(in.dy);
  task.residual_gradient = values(dx);
  task.weight_gradient = values(sum);
  task.scratch = values(scratch);
  require(own.rms_norm_backward(task, nullptr));
}

scored_rows own_token_logprobs(const kernels::device_table& own, const at::Tensor& logits,
                               const at::Tensor& targets) {
  scored_rows out{make_tensor({extent(logits, 0)}), make_tensor({extent(logits, 0)})};
  require(own.token_logprobs(
      {extent(logits, 0), extent(logits, 1), values(logits), targets.const_data_ptr<std::int32_t>(),
       values(out.lse), values(out.logprobs)},
      nullptr));
  return out;
}

void own_token_logprobs_backward(const kernels::device_table& own, at::Tensor& logits,
                                 const at::Tensor& lse, const at::Tensor& targets,
                                 const at::Tensor& gradient) {
  require(own.token_logprobs_backward(
      {extent(logits, 0), extent(logits, 1), values(logits), values(lse),
       targets.const_data_ptr<std::int32_t>(), values(gradient)},
      nullptr));
}

}  // namespace troupe::gpu::library
