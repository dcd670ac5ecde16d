#include "gpu/torch/packed_matrix.hpp"

#include <algorithm>

#include "gpu/bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;
using kernels::panel_rows_max;

/// Rows of one task: a few register tiles, so that small batches still keep all threads busy.
constexpr std::size_t task_rows = 96;

}  // namespace

packed_matrix::packed_matrix(std::size_t outputs, std::size_t inputs)
    : outputs_(outputs), inputs_(inputs) {
  const std::size_t panels = (outputs + panel_columns - 1) / panel_columns;
  panels_ = at::zeros({static_cast<std::int64_t>(panels * inputs * panel_columns)}, at::kFloat);
}

std::size_t packed_matrix::place(std::size_t output, std::size_t input) const {
  return (output / panel_columns * inputs_ + input) * panel_columns + output % panel_columns;
}

void packed_matrix::assign(std::uint64_t first, std::span<const std::uint16_t> bits) {
  float* const to = values(panels_);
  std::size_t output = first / inputs_;
  std::size_t input = first % inputs_;
  for (const std::uint16_t value : bits) {
    to[place(output, input)] = from_bf16(value);
    if (++input == inputs_) {
      input = 0;
      ++output;
    }
  }
}

void packed_matrix::assign_one(std::uint64_t element, std::uint16_t bits) {
  values(panels_)[place(element / inputs_, element % inputs_)] = from_bf16(bits);
}

void packed_matrix::copy_row(std::size_t output, float* to) const {
  const float* const from = values(panels_);
  for (std::size_t input = 0; input < inputs_; ++input)
    to[input] = from[place(output, input)];
}

at::Tensor packed_matrix::run(const at::Tensor& x, const float* residual) const {
  const std::size_t rows = extent(x, 0);
  at::Tensor y = make_tensor({rows, outputs_});
  const float* const from = values(x);
  const float* const panels = values(panels_);
  float* const to = values(y);
  const std::size_t row_tasks = (rows + task_rows - 1) / task_rows;
  const std::size_t panel_tasks = (outputs_ + panel_columns - 1) / panel_columns;
  for_ranges(row_tasks * panel_tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task / panel_tasks * task_rows;
      const std::size_t panel = task % panel_tasks;
      const std::size_t at = row * outputs_ + panel * panel_columns;
      const float* addend = residual == nullptr ? nullptr : residual + at;
      for (std::size_t k = 0; k < inputs_; k += panel_rows_max) {
        kernels::for_this_cpu().multiply_panel(
            {std::min(task_rows, rows - row), std::min(panel_rows_max, inputs_ - k),
             std::min(panel_columns, outputs_ - panel * panel_columns), from + row * inputs_ + k,
             inputs_, 1, panels + (panel * inputs_ + k) * panel_columns, addend, to + at,
             outputs_});
        addend = to + at;
      }
    }
  });
  return y;
}

at::Tensor packed_matrix::multiply(const at::Tensor& x) const {
  return run(x, nullptr);
}

at::Tensor packed_matrix::multiply_add(const at::Tensor& x, const at::Tensor& residual) const {
  return run(x, values(residual));
}

}  // namespace troupe::gpu
