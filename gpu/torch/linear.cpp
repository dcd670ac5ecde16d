#include "gpu/torch/linear.hpp"

#include "gpu/torch/library/products.hpp"

namespace troupe::gpu {
namespace {

/// y = residual + x W^T; an undefined residual is 0, and y may be it.
void forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& residual,
             at::Tensor& y) {
  if (uses_library()) {
    if (residual.defined() && !residual.is_same(y)) y.copy_(residual);
    const auto mode = residual.defined() ? write_mode::add : write_mode::overwrite;
    return library::product_into(x, weight.t(), mode, y);
  }
  const std::size_t width = extent(x, 1);
  multiply({extent(x, 0), extent(weight, 0), width, values(x), width, 1, values(weight), 1, width,
            residual.defined() ? values(residual) : nullptr, values(y), extent(weight, 0)});
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight) {
  at::Tensor y = make_tensor({extent(x, 0), extent(weight, 0)});
  forward(x, weight, {}, y);
  return y;
}

at::Tensor linear_add(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& residual) {
  at::Tensor y = make_tensor({extent(x, 0), extent(weight, 0)});
  forward(x, weight, residual, y);
  return y;
}

void linear_into(const at::Tensor& x, const at::Tensor& weight, at::Tensor y) {
  forward(x, weight, {}, y);
}

void linear_add_into(const at::Tensor& x, const at::Tensor& weight, at::Tensor y) {
  forward(x, weight, y, y);
}

at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  at::Tensor dx = make_tensor({extent(dy, 0), extent(weight, 1)});
  linear_input_gradient_into(dy, weight, dx);
  return dx;
}

void linear_input_gradient_into(const at::Tensor& dy, const at::Tensor& weight, at::Tensor dx) {
  if (uses_library()) return library::product_into(dy, weight, write_mode::overwrite, dx);
  const std::size_t outputs = extent(weight, 0);
  const std::size_t inputs = extent(weight, 1);
  multiply({extent(dy, 0), inputs, outputs, values(dy), outputs, 1, values(weight), inputs, 1,
            nullptr, values(dx), inputs});
}

void linear_weight_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor gradient,
                            write_mode mode) {
  if (uses_library()) return library::product_into(dy.t(), x, mode, gradient);
  const std::size_t outputs = extent(dy, 1);
  const std::size_t inputs = extent(x, 1);
  float* const into = values(gradient);
  multiply({outputs, inputs, extent(x, 0), values(dy), 1, outputs, values(x), inputs, 1,
            mode == write_mode::add ? into : nullptr, into, inputs});
}

}  // namespace troupe::gpu
