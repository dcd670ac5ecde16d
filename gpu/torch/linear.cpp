#include "gpu/torch/linear.hpp"

#include <algorithm>
#include <array>

#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;
using kernels::panel_rows_max;

/// Rows one task multiplies; enough to pay for packing its panel. Narrow results have few panels,
/// and are cut finer to occupy all threads.
std::size_t task_rows(std::size_t panels) {
  return panels < 8 ? 128 : 1024;
}

void multiply_task(const strided_product& p, std::size_t panel_index, std::size_t row,
                   std::size_t rows) {
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  alignas(64) static thread_local std::array<float, panel_rows_max * panel_columns> panel;
  const std::size_t column = panel_index * panel_columns;
  const std::size_t columns = std::min(panel_columns, p.n - column);
  float* const c = p.c + row * p.c_stride + column;
  const float* addend = p.addend == nullptr ? nullptr : p.addend + row * p.c_stride + column;
  for (std::size_t k = 0; k < p.k; k += panel_rows_max) {
    const std::size_t height = std::min(panel_rows_max, p.k - k);
    cpu.pack_panel({p.b + k * p.b_k_stride + column * p.b_column_stride, height, columns,
                    p.b_k_stride, p.b_column_stride},
                   panel.data());
    cpu.multiply_panel({rows, height, columns, p.a + row * p.a_row_stride + k * p.a_k_stride,
                        p.a_row_stride, p.a_k_stride, panel.data(), addend, c, p.c_stride});
    addend = c;
  }
}

void forward(const at::Tensor& x, const at::Tensor& weight, const float* residual, at::Tensor& y) {
  const std::size_t width = extent(x, 1);
  multiply({extent(x, 0), extent(weight, 0), width, values(x), width, 1, values(weight), 1, width,
            residual, values(y), extent(weight, 0)});
}

}  // namespace

void multiply(const strided_product& p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    for (std::size_t row = 0; p.addend == nullptr && row < p.m; ++row)
      std::fill_n(p.c + row * p.c_stride, p.n, 0.0F);
    return;
  }
  const std::size_t panels = (p.n + panel_columns - 1) / panel_columns;
  const std::size_t height = task_rows(panels);
  const std::size_t row_tasks = (p.m + height - 1) / height;
  for_ranges(panels * row_tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task % row_tasks * height;
      multiply_task(p, task / row_tasks, row, std::min(height, p.m - row));
    }
  });
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight) {
  at::Tensor y = make_tensor({extent(x, 0), extent(weight, 0)});
  forward(x, weight, nullptr, y);
  return y;
}

at::Tensor linear_add(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& residual) {
  at::Tensor y = make_tensor({extent(x, 0), extent(weight, 0)});
  forward(x, weight, values(residual), y);
  return y;
}

void linear_into(const at::Tensor& x, const at::Tensor& weight, at::Tensor y) {
  forward(x, weight, nullptr, y);
}

void linear_add_into(const at::Tensor& x, const at::Tensor& weight, at::Tensor y) {
  const at::Tensor residual = y;
  forward(x, weight, values(residual), y);
}

at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  at::Tensor dx = make_tensor({extent(dy, 0), extent(weight, 1)});
  linear_input_gradient_into(dy, weight, dx);
  return dx;
}

void linear_input_gradient_into(const at::Tensor& dy, const at::Tensor& weight, at::Tensor dx) {
  const std::size_t outputs = extent(weight, 0);
  const std::size_t inputs = extent(weight, 1);
  multiply({extent(dy, 0), inputs, outputs, values(dy), outputs, 1, values(weight), inputs, 1,
            nullptr, values(dx), inputs});
}

void linear_weight_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor gradient,
                            write_mode mode) {
  const std::size_t outputs = extent(dy, 1);
  const std::size_t inputs = extent(x, 1);
  float* const into = values(gradient);
  multiply({outputs, inputs, extent(x, 0), values(dy), 1, outputs, values(x), inputs, 1,
            mode == write_mode::add ? into : nullptr, into, inputs});
}

}  // namespace troupe::gpu
