#include "gpu/torch/packed_matrix.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <ATen/ops/zeros.h>

#include "gpu/bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;
using kernels::panel_rows_max;

/// Rows of one task: enough to pay for widening its panel.
constexpr std::size_t task_rows = 22 * kernels::packed_row_step;

/// A panel as the multiplication reads it.
struct alignas(64) wide_panel {
  std::array<float, panel_rows_max * panel_columns> values;
};

/// From so many rows on, widening a panel once costs less than widening it for each tile of them.
constexpr std::size_t widened_from_rows = 128;

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

/// Packed rows for each piece of k: [piece][rows * k of the piece].
at::Tensor packed_matrix::pack_rows(const float* x, std::size_t rows) const {
  at::Tensor packed = make_tensor({rows, inputs_});
  float* const to = values(packed);
  const std::size_t row_tasks = (rows + task_rows - 1) / task_rows;
  const std::size_t pieces = (inputs_ + panel_rows_max - 1) / panel_rows_max;
  for_ranges(row_tasks * pieces, 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task % row_tasks * task_rows;
      const std::size_t k = task / row_tasks * panel_rows_max;
      const std::size_t height = std::min(panel_rows_max, inputs_ - k);
      kernels::for_this_cpu().pack_rows(
          {x + row * inputs_ + k, std::min(task_rows, rows - row), height, inputs_, 1},
          to + rows * k + row * height);
    }
  });
  return packed;
}

void packed_matrix::multiply_task(const row_block& block, std::size_t panel) const {
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  const std::size_t columns = std::min(panel_columns, outputs_ - panel * panel_columns);
  const std::size_t at = block.first * outputs_ + panel * panel_columns;
  const float* addend = block.residual == nullptr ? nullptr : block.residual + at;
  for (std::size_t k = 0; k < inputs_; k += panel_rows_max) {
    const std::size_t height = std::min(panel_rows_max, inputs_ - k);
    const kernels::left_operand a{block.packed + block.all * k + block.first * height, 0, 0,
                                  kernels::packing::by_row};
    const std::uint16_t* const bits = panels() + (panel * inputs_ + k) * panel_columns;
    if (block.rows < widened_from_rows) {
      cpu.multiply_bf16_panel(
          {block.rows, height, columns, a, bits, addend, block.y + at, outputs_});
    } else {
      static thread_local wide_panel wide;
      cpu.widen_bf16(height * panel_columns, bits, wide.values.data());
      cpu.multiply_panel(
          {block.rows, height, columns, a, wide.values.data(), addend, block.y + at, outputs_});
    }
    addend = block.y + at;
  }
}

std::vector<at::Tensor> multiply_each(std::span<const packed_product> products,
                                      const at::Tensor& x) {
  const std::size_t rows = extent(x, 0);
  std::vector<at::Tensor> out;
  std::vector<packed_matrix::row_block> blocks;
  std::vector<std::size_t> first_panel{0};
  // What one row is packed to is that row.
  const at::Tensor packed = rows == 1 ? x : products[0].matrix->pack_rows(values(x), rows);
  for (const packed_product& each : products) {
    out.push_back(make_tensor({rows, each.matrix->outputs_}));
    blocks.push_back({0, 0, rows, values(std::as_const(packed)),
                      each.residual.defined() ? values(each.residual) : nullptr,
                      values(out.back())});
    first_panel.push_back(first_panel.back() +
                          (each.matrix->outputs_ + panel_columns - 1) / panel_columns);
  }
  const std::size_t row_tasks = (rows + task_rows - 1) / task_rows;
  for_ranges(row_tasks * first_panel.back(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task / first_panel.back() * task_rows;
      const std::size_t panel = task % first_panel.back();
      std::size_t which = 0;
      while (panel >= first_panel[which + 1])
        ++which;
      packed_matrix::row_block block = blocks[which];
      block.first = row;
      block.rows = std::min(task_rows, rows - row);
      products[which].matrix->multiply_task(block, panel - first_panel[which]);
    }
  });
  return out;
}

at::Tensor packed_matrix::multiply(const at::Tensor& x) const {
  return multiply_each(std::array{packed_product{this, {}}}, x).front();
}

at::Tensor packed_matrix::multiply_add(const at::Tensor& x, const at::Tensor& residual) const {
  return multiply_each(std::array{packed_product{this, residual}}, x).front();
}

}  // namespace troupe::gpu
