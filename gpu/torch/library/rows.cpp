#include "gpu/torch/library/rows.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>

#include "gpu/torch/library/own_kernels.hpp"
#include "gpu/torch/library/transfers.hpp"

namespace troupe::gpu::library {

void write(at::Tensor into, const at::Tensor& value, write_mode mode) {
  if (mode == write_mode::add) {
    into.add_(value);
  } else {
    into.copy_(value);
  }
}

normed rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (const auto* own = own_kernels_for(x)) return own_rms_norm(*own, x, weight, eps);
  const at::Tensor rstd = at::rsqrt(at::mean(at::square(x), {1}) + eps);
  return {x * rstd.unsqueeze(1) * weight, rstd};
}

void rms_norm_backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                       const at::Tensor& dy, at::Tensor dx, at::Tensor weight_gradient,
                       write_mode mode) {
  if (const auto* own = own_kernels_for(x)) {
    own_rms_norm_backward(*own, {x, weight, rstd, dy}, dx, weight_gradient, mode);
    return;
  }
  const at::Tensor scale = rstd.unsqueeze(1);
  const at::Tensor up = dy * weight;
  const at::Tensor shared = at::mean(up * x, {1}, /*keepdim=*/true) * at::square(scale);
  dx.add_((up - x * shared) * scale);
  if (weight_gradient.defined()) write(weight_gradient, at::sum(dy * x * scale, {0}), mode);
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  return at::silu(gate).mul_(up);
}

void swiglu_backward(at::Tensor dy, at::Tensor gate_up) {
  const auto parts = gate_up.chunk(2, 1);
  const at::Tensor& gate = parts[0];
  const at::Tensor& up = parts[1];
  const at::Tensor y = swiglu(gate, up);
  const at::Tensor open = at::sigmoid(gate);
  const at::Tensor up_gradient = dy * gate * open;
  gate.copy_(dy * up * open * (1 + gate * (1 - open)));
  up.copy_(up_gradient);
  dy.copy_(y);
}

at::Tensor embed(std::span<const token_id> tokens, const at::Tensor& embedding) {
  return at::index_select(embedding, 0, index_tensor(tokens));
}

void embed_backward(std::span<const token_id> tokens, const at::Tensor& dx,
                    at::Tensor embedding_gradient) {
  // Adding by index takes rows as they come on a GPU; this one sorts them first.
  embedding_gradient.index_put_({index_tensor(tokens)}, dx, /*accumulate=*/true);
}

void sum_rows(const at::Tensor& rows, at::Tensor sum, write_mode mode) {
  write(sum, at::sum(rows, {0}), mode);
}

}  // namespace troupe::gpu::library
