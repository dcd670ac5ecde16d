#include "gpu/torch/product.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "gpu/kernels/cpu_bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/parallel.hpp"
#include "gpu/torch/pass_clock.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;

thread_local compute_type current_type = compute_type::fp32;

/// Panels that share one packing of the left operand.
constexpr std::size_t panel_group = 8;

/// Fewer rows would not pay for packing their panels.
constexpr std::size_t task_rows_min = 2 * kernels::packed_rows_max;
constexpr std::size_t task_rows_max = 1024;

/// Tiles of every instruction set fill a multiple of it.
constexpr std::size_t row_step = 12;

/// More tasks than threads, so that a thread that other processes hold up does not hold up all.
constexpr std::size_t tasks_per_thread = 8;

/// Operands as they are.
struct fp32_operands {
  using element = float;
  static constexpr std::size_t k_max = kernels::panel_rows_max;
  static constexpr std::size_t panel_elements = k_max * panel_columns;
  static constexpr std::size_t row_elements = kernels::packed_row_floats;

  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();

  void pack_panel(const kernels::panel_source& source, float* panel) const {
    cpu.pack_panel(source, panel);
  }
  [[nodiscard]] kernels::left_operand pack_rows(const kernels::row_source& source,
                                                float* rows) const {
    return cpu.pack_rows(source, rows);
  }
  void multiply(const kernels::panel_product& of) const { cpu.multiply_panel(of); }
  using product = kernels::panel_product;
  static std::size_t depth(std::size_t k) { return k; }
};

/// Operands rounded to bf16, in pairs.
struct bf16_operands {
  using element = std::uint32_t;
  static constexpr std::size_t k_max = kernels::bf16_panel_rows_max;
  static constexpr std::size_t panel_elements = k_max / 2 * panel_columns;
  static constexpr std::size_t row_elements = kernels::packed_row_pairs;

  const kernels::bf16_kernels& cpu;

  void pack_panel(const kernels::panel_source& source, std::uint32_t* panel) const {
    cpu.pack_panel(source, panel);
  }
  [[nodiscard]] kernels::bf16_rows pack_rows(const kernels::row_source& source,
                                             std::uint32_t* rows) const {
    return cpu.pack_rows(source, rows);
  }
  void multiply(const kernels::bf16_product& of) const { cpu.multiply(of); }
  using product = kernels::bf16_product;
  static std::size_t depth(std::size_t k) { return (k + 1) / 2; }
};

struct product_range {
  std::size_t row, rows, column, columns;
};

/// Where a task packs its operands.
template <class Operands>
struct packing_room {
  std::vector<typename Operands::element> panels =
      std::vector<typename Operands::element>(panel_group * Operands::panel_elements);
  std::vector<typename Operands::element> rows =
      std::vector<typename Operands::element>(Operands::row_elements);
};

template <class Operands>
void multiply_range(const Operands& operands, const strided_product& p,
                    const product_range& range) {
  static thread_local packing_room<Operands> room;
  const std::size_t row_end = range.row + range.rows;
  for (std::size_t k = 0; k < p.k; k += Operands::k_max) {
    const std::size_t height = std::min(Operands::k_max, p.k - k);
    const std::size_t depth = Operands::depth(height);
    for (std::size_t column = 0; column < range.columns; column += panel_columns)
      operands.pack_panel(
          {p.b + k * p.b_k_stride + (range.column + column) * p.b_column_stride, height,
           std::min(panel_columns, range.columns - column), p.b_k_stride, p.b_column_stride},
          &room.panels[depth * column]);
    const float* const addend = k == 0 ? p.addend : p.c;
    for (std::size_t row = range.row; row < row_end; row += kernels::packed_rows_max) {
      const std::size_t rows = std::min(kernels::packed_rows_max, row_end - row);
      const auto a = operands.pack_rows({p.a + row * p.a_row_stride + k * p.a_k_stride, rows,
                                         height, p.a_row_stride, p.a_k_stride},
                                        room.rows.data());
      for (std::size_t column = 0; column < range.columns; column += panel_columns) {
        const std::size_t at = row * p.c_stride + range.column + column;
        operands.multiply(typename Operands::product{
            rows, depth, std::min(panel_columns, range.columns - column), a,
            &room.panels[depth * column], addend == nullptr ? nullptr : addend + at, p.c + at,
            p.c_stride});
      }
    }
  }
}

/// Rows of one task: as many as leave enough tasks for all threads, and nearly the same for each.
std::size_t task_rows(std::size_t rows, std::size_t groups) {
  const std::size_t tasks = tasks_per_thread * pool_threads();
  const std::size_t wanted =
      std::clamp((rows * groups + tasks - 1) / tasks, task_rows_min, task_rows_max);
  const std::size_t parts = (rows + wanted - 1) / wanted;
  const std::size_t even = (rows + parts - 1) / parts;
  return (even + row_step - 1) / row_step * row_step;
}

template <class Operands>
void multiply_with(const Operands& operands, const strided_product& p) {
  constexpr std::size_t width = panel_group * panel_columns;
  const std::size_t groups = (p.n + width - 1) / width;
  const std::size_t height = task_rows(p.m, groups);
  const std::size_t row_tasks = (p.m + height - 1) / height;
  for_ranges(groups * row_tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t row = task % row_tasks * height;
      const std::size_t column = task / row_tasks * width;
      multiply_range(operands, p,
                     {row, std::min(height, p.m - row), column, std::min(width, p.n - column)});
    }
  });
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
  if (current_type == compute_type::bf16 && bf16 != nullptr)
    return multiply_with(bf16_operands{*bf16}, p);
  multiply_with(fp32_operands{}, p);
}

}  // namespace troupe::gpu
