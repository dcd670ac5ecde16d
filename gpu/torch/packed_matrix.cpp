#include "gpu/torch/packed_matrix.hpp"

#include <algorithm>
#include <array>

#include "gpu/bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;
using kernels::panel_rows_max;

/// Rows of one task: a few register tiles, so that small batches still keep all threads busy.
constexpr std::size_t task_rows = 96;

/// A panel as the multiplication reads it.
struct alignas(64) wide_panel {
  std::array<float, panel_rows_max * panel_columns> values;
};

/// Replacements that are fetched ahead of the one being written.
constexpr std::size_t prefetch_distance = 24;

}  // namespace

packed_matrix::packed_matrix(std::size_t outputs, std::size_t inputs)
    : outputs_(outputs), inputs_(inputs) {
  const std::size_t count = (outputs + panel_columns - 1) / panel_columns * inputs * panel_columns;
  panels_ = at::zeros({static_cast<std::int64_t>(count)}, at::kShort);
}

std::uint16_t* packed_matrix::panels() {
  return static_cast<std::uint16_t*>(panels_.mutable_data_ptr());
}

const std::uint16_t* packed_matrix::panels() const {
  return static_cast<const std::uint16_t*>(panels_.const_data_ptr());
}

std::uint64_t packed_matrix::place(std::uint64_t element) const {
  const std::uint64_t output = element / inputs_;
  const std::uint64_t input = element % inputs_;
  return (output / panel_columns * inputs_ + input) * panel_columns + output % panel_columns;
}

void packed_matrix::assign(std::uint64_t first, std::span<const std::uint16_t> bits) {
  std::uint16_t* const to = panels();
  while (!bits.empty()) {
    const std::size_t row = std::min<std::size_t>(bits.size(), inputs_ - first % inputs_);
    std::uint16_t* const from_here = to + place(first);
    for (std::size_t i = 0; i < row; ++i)
      from_here[i * panel_columns] = bits[i];
    first += row;
    bits = bits.subspan(row);
  }
}

void packed_matrix::replace(std::span<const std::uint64_t> places,
                            std::span<const std::uint16_t> bits) {
  std::uint16_t* const to = panels();
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (i + prefetch_distance < places.size())
      __builtin_prefetch(to + places[i + prefetch_distance], 1);
    to[places[i]] = bits[i];
  }
}

void packed_matrix::copy_row(std::size_t output, float* to) const {
  const std::uint16_t* const from = panels() + place(output * inputs_);
  for (std::size_t input = 0; input < inputs_; ++input)
    to[input] = from_bf16(from[input * panel_columns]);
}

at::Tensor packed_matrix::run(const at::Tensor& x, const float* residual) const {
  const std::size_t rows = extent(x, 0);
  at::Tensor y = make_tensor({rows, outputs_});
  const float* const from = values(x);
  float* const to = values(y);
  const std::size_t row_tasks = (rows + task_rows - 1) / task_rows;
  const std::size_t panel_tasks = (outputs_ + panel_columns - 1) / panel_columns;
  for_ranges(row_tasks * panel_tasks, 1, [&](std::size_t begin, std::size_t end) {
    const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
    wide_panel wide;
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task / panel_tasks * task_rows;
      const std::size_t panel = task % panel_tasks;
      const std::size_t at = row * outputs_ + panel * panel_columns;
      const float* addend = residual == nullptr ? nullptr : residual + at;
      for (std::size_t k = 0; k < inputs_; k += panel_rows_max) {
        const std::size_t height = std::min(panel_rows_max, inputs_ - k);
        cpu.widen_bf16(height * panel_columns, panels() + (panel * inputs_ + k) * panel_columns,
                       wide.values.data());
        cpu.multiply_panel({std::min(task_rows, rows - row), height,
                            std::min(panel_columns, outputs_ - panel * panel_columns),
                            from + row * inputs_ + k, inputs_, 1, wide.values.data(), addend,
                            to + at, outputs_});
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
