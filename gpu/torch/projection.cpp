#include "gpu/torch/projection.hpp"

#include <utility>

#include "gpu/torch/library/products.hpp"
#include "gpu/torch/linear.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {
namespace {

void scale(at::Tensor& tensor, float factor) {
  float* const to = values(tensor);
  for (std::size_t i = 0; i < count(tensor); ++i)
    to[i] *= factor;
}

/// to[j][i] = from[i][j].
void turn(const at::Tensor& from, at::Tensor& to) {
  const std::size_t rows = extent(from, 0);
  const std::size_t columns = extent(from, 1);
  const float* const read = values(from);
  float* const written = values(to);
  for_ranges(columns, 64, [&](std::size_t begin, std::size_t end) {
    for (std::size_t column = begin; column < end; ++column)
      for (std::size_t row = 0; row < rows; ++row)
        written[column * rows + row] = read[row * columns + column];
  });
}

/// scale * x A^T, [T, r].
at::Tensor reduced_input(const projection& layer, const low_rank& adapter, const at::Tensor& x) {
  at::Tensor reduced = linear(x, adapter.a);
  scale(reduced, layer.adapter_scale);
  return reduced;
}

void add_adapters(const projection& layer, const at::Tensor& x, at::Tensor& y) {
  if (uses_library()) return library::add_adapters(layer, x, y);
  const product_scope exact(compute_type::fp32);
  const std::size_t stride = extent(y, 1);
  for (const low_rank& adapter : layer.adapters) {
    const at::Tensor reduced = reduced_input(layer, adapter, x);
    const std::size_t rank = extent(reduced, 1);
    float* const to = values(y) + adapter.first_output;
    multiply({extent(x, 0), extent(adapter.b, 0), rank, values(reduced), rank, 1, values(adapter.b),
              1, rank, to, to, stride});
  }
}

/// Adds the adapter's part of the gradient of x to dx. Returns scale * dy B.
at::Tensor adapter_input_gradient(const projection& layer, const low_rank& adapter,
                                  const at::Tensor& dy, at::Tensor& dx) {
  if (uses_library()) return library::adapter_input_gradient(layer, adapter, dy, dx);
  const product_scope exact(compute_type::fp32);
  const std::size_t rows = extent(dy, 0);
  const std::size_t rank = extent(adapter.b, 1);
  const std::size_t stride = extent(dy, 1);
  at::Tensor reduced = make_tensor({rows, rank});
  multiply({rows, rank, extent(adapter.b, 0), values(dy) + adapter.first_output, stride, 1,
            values(adapter.b), rank, 1, nullptr, values(reduced), rank});
  scale(reduced, layer.adapter_scale);
  const std::size_t inputs = extent(dx, 1);
  float* const to = values(dx);
  multiply({rows, inputs, rank, values(std::as_const(reduced)), rank, 1, values(adapter.a), inputs,
            1, to, to, inputs});
  return reduced;
}

void adapter_gradients(const projection& layer, const low_rank& adapter, const at::Tensor& x,
                       const at::Tensor& dy, const at::Tensor& reduced_gradient,
                       const low_rank& gradient, write_mode mode) {
  if (uses_library())
    return library::adapter_gradients(layer, adapter, {x, dy, reduced_gradient}, gradient, mode);
  const product_scope exact(compute_type::fp32);
  const at::Tensor reduced = reduced_input(layer, adapter, x);
  const std::size_t rank = extent(reduced, 1);
  const std::size_t outputs = extent(adapter.b, 0);
  at::Tensor b_gradient = gradient.b;
  // As [r, n]: so few rows take the columns of dy where they are.
  at::Tensor turned = make_tensor({rank, outputs});
  if (mode == write_mode::add) turn(b_gradient, turned);
  float* const to = values(turned);
  multiply({rank, outputs, extent(x, 0), values(reduced), 1, rank,
            values(dy) + adapter.first_output, extent(dy, 1), 1,
            mode == write_mode::add ? to : nullptr, to, outputs});
  turn(turned, b_gradient);
  linear_weight_gradient(reduced_gradient, x, gradient.a, mode);
}

std::vector<at::Tensor> input_gradient_into(const projection& layer, const at::Tensor& dy,
                                            at::Tensor& dx) {
  linear_input_gradient_into(dy, layer.weight, dx);
  std::vector<at::Tensor> reduced;
  for (const low_rank& adapter : layer.adapters)
    reduced.push_back(adapter_input_gradient(layer, adapter, dy, dx));
  return reduced;
}

}  // namespace

at::Tensor project(const projection& layer, const at::Tensor& x) {
  at::Tensor y = make_tensor({extent(x, 0), extent(layer.weight, 0)});
  project_into(layer, x, y);
  return y;
}

at::Tensor project_add(const projection& layer, const at::Tensor& x, const at::Tensor& residual) {
  at::Tensor y = linear_add(x, layer.weight, residual);
  add_adapters(layer, x, y);
  return y;
}

void project_into(const projection& layer, const at::Tensor& x, at::Tensor y) {
  if (layer.bias.defined()) {
    repeat_row(layer.bias, y);
    linear_add_into(x, layer.weight, y);
  } else {
    linear_into(x, layer.weight, y);
  }
  add_adapters(layer, x, y);
}

at::Tensor project_backward(const projection& layer, const at::Tensor& x, const at::Tensor& dy,
                            const projection& gradient, write_mode mode) {
  at::Tensor dx = make_tensor({extent(x, 0), extent(x, 1)});
  project_backward_into(layer, x, dy, gradient, mode, dx);
  return dx;
}

void project_backward_into(const projection& layer, const at::Tensor& x, const at::Tensor& dy,
                           const projection& gradient, write_mode mode, at::Tensor dx) {
  const std::vector<at::Tensor> reduced = input_gradient_into(layer, dy, dx);
  project_parameter_gradients(layer, x, dy, reduced, gradient, mode);
}

input_gradient project_input_gradient(const projection& layer, const at::Tensor& dy) {
  input_gradient result{make_tensor({extent(dy, 0), extent(layer.weight, 1)}), {}};
  result.reduced = input_gradient_into(layer, dy, result.dx);
  return result;
}

void project_parameter_gradients(const projection& layer, const at::Tensor& x, const at::Tensor& dy,
                                 std::span<const at::Tensor> reduced, const projection& gradient,
                                 write_mode mode) {
  if (gradient.weight.defined()) linear_weight_gradient(dy, x, gradient.weight, mode);
  if (gradient.bias.defined()) sum_rows(dy, gradient.bias, mode);
  for (std::size_t i = 0; i < layer.adapters.size(); ++i)
    adapter_gradients(layer, layer.adapters[i], x, dy, reduced[i], gradient.adapters[i], mode);
}

void clear(const projection& gradient) {
  if (gradient.weight.defined()) gradient.weight.zero_();
  if (gradient.bias.defined()) gradient.bias.zero_();
  for (const low_rank& adapter : gradient.adapters) {
    adapter.a.zero_();
    adapter.b.zero_();
  }
}

}  // namespace troupe::gpu
