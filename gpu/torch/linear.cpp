#include "gpu/torch/linear.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "gpu/kernels/cpu_bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/library/products.hpp"
#include "gpu/torch/pass_clock.hpp"

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

thread_local compute_type current_type = compute_type::fp32;

/// Panels that share one rounding of the left operand.
constexpr std::size_t panel_group = 4;

/// Where a task rounds its operands: one group of panels, and some rows.
struct bf16_scratch {
  std::vector<std::uint32_t> panels =
      std::vector<std::uint32_t>(panel_group * kernels::bf16_panel_rows_max / 2 * panel_columns);
  std::vector<std::uint32_t> rows =
      std::vector<std::uint32_t>(kernels::bf16_rows_max * kernels::bf16_panel_rows_max / 2);
};

struct product_range {
  std::size_t row, rows, column, columns;
};

void multiply_bf16_task(const kernels::bf16_kernels& cpu, const strided_product& p,
                        const product_range& range) {
  static thread_local bf16_scratch scratch;
  const std::size_t row_end = range.row + range.rows;
  for (std::size_t k = 0; k < p.k; k += kernels::bf16_panel_rows_max) {
    const std::size_t height = std::min(kernels::bf16_panel_rows_max, p.k - k);
    const std::size_t pairs = (height + 1) / 2;
    for (std::size_t column = 0; column < range.columns; column += panel_columns)
      cpu.pack_panel(
          {p.b + k * p.b_k_stride + (range.column + column) * p.b_column_stride, height,
           std::min(panel_columns, range.columns - column), p.b_k_stride, p.b_column_stride},
          &scratch.panels[pairs * column]);
    const float* const addend = k == 0 ? p.addend : p.c;
    for (std::size_t row = range.row; row < row_end; row += kernels::bf16_rows_max) {
      const std::size_t rows = std::min(kernels::bf16_rows_max, row_end - row);
      const auto a = cpu.pack_rows({rows, height, p.a + row * p.a_row_stride + k * p.a_k_stride,
                                    p.a_row_stride, p.a_k_stride},
                                   scratch.rows.data());
      for (std::size_t column = 0; column < range.columns; column += panel_columns) {
        const std::size_t at = row * p.c_stride + range.column + column;
        cpu.multiply({rows, pairs, std::min(panel_columns, range.columns - column), a,
                      &scratch.panels[pairs * column], addend == nullptr ? nullptr : addend + at,
                      p.c + at, p.c_stride});
      }
    }
  }
}

void multiply_bf16(const kernels::bf16_kernels& cpu, const strided_product& p) {
  constexpr std::size_t width = panel_group * panel_columns;
  const std::size_t groups = (p.n + width - 1) / width;
  const std::size_t height = task_rows(groups * panel_group);
  const std::size_t row_tasks = (p.m + height - 1) / height;
  for_ranges(groups * row_tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task % row_tasks * height;
      const std::size_t column = task / row_tasks * width;
      multiply_bf16_task(cpu, p,
                         {row, std::min(height, p.m - row), column, std::min(width, p.n - column)});
    }
  });
}

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

product_scope::product_scope(compute_type type) : outer_(std::exchange(current_type, type)) {}

product_scope::~product_scope() {
  current_type = outer_;
}

compute_type product_type() {
  return current_type;
}

void multiply(const strided_product& p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    for (std::size_t row = 0; p.addend == nullptr && row < p.m; ++row)
      std::fill_n(p.c + row * p.c_stride, p.n, 0.0F);
    return;
  }
  const timed_part timed(&pass_seconds::products);
  const kernels::bf16_kernels* const bf16 = kernels::bf16_for_this_cpu();
  if (current_type == compute_type::bf16 && bf16 != nullptr) return multiply_bf16(*bf16, p);
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
