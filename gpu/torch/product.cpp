#include "gpu/torch/product.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "gpu/kernels/cpu_bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/parallel.hpp"
#include "gpu/torch/pass_clock.hpp"
#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;

thread_local compute_type current_type = compute_type::fp32;

constexpr std::size_t ceil_div(std::size_t value, std::size_t by) {
  return (value + by - 1) / by;
}

/// Whole tiles of packed rows.
constexpr std::size_t padded_rows(std::size_t rows) {
  return ceil_div(rows, kernels::packed_row_step) * kernels::packed_row_step;
}

/// Tasks: panels that one core keeps in its second cache, and rows that pay for bringing them
/// there, for neighbouring tasks share them.
constexpr std::size_t task_panels = 8;
constexpr std::size_t task_rows_min = 8 * kernels::packed_row_step;
constexpr std::size_t task_rows_max = 32 * kernels::packed_row_step;

/// Rows that are packed at a time, and pairs of which stay in that cache while panels pass.
constexpr std::size_t near_rows = 16 * kernels::packed_row_step;

/// More tasks than threads, so that a thread that other processes hold up does not hold up all.
constexpr std::size_t tasks_per_thread = 8;

/// Rows and columns of one block of c, and elements of one packed operand of it.
constexpr std::size_t block_extent = 4096;
constexpr std::size_t packed_elements = (block_extent + kernels::packed_row_step) * 512;

/// So few panels pass over rows that to read these in place is less than to pack them.
constexpr std::size_t in_place_panels_max = 2 * task_panels;

/// So few rows meet columns that to read these in place is less than to pack them.
constexpr std::size_t in_place_rows_max = 3 * kernels::packed_row_step;

/// c = addend + rows * panels of one piece of k.
template <class Element>
struct packed_part {
  std::size_t rows, k, depth, columns;
  const Element* packed_rows;
  const float* rows_in_place;  ///< null: they are packed
  std::size_t row_stride;
  const Element* panels;
  const float* columns_in_place;  ///< null: they are packed
  std::size_t column_k_stride;
  const float* addend;
  float* c;
  std::size_t c_stride;
};

/// Operands in fp32, rounded or not.
struct fp32_operands {
  using element = float;
  /// The rows of a tile fill a quarter of a small L1.
  static constexpr std::size_t k_max = 512;

  kernels::rounding to;
  kernels::packing order;
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();

  void pack_panel(kernels::panel_source source, float* panel) const {
    source.to = to;
    cpu.pack_panel(source, panel);
  }
  void pack_rows(kernels::row_source source, float* rows) const {
    source.to = to;
    cpu.pack_rows(source, rows);
  }
  void multiply(const packed_part<float>& p) const {
    const kernels::left_operand in_place{p.rows_in_place, p.row_stride};
    const kernels::left_operand packed{p.packed_rows, 0, 0, order};
    const bool has_panels = p.columns_in_place == nullptr;
    cpu.multiply_panels({p.rows, p.depth, p.columns, p.rows_in_place == nullptr ? packed : in_place,
                         has_panels ? p.panels : p.columns_in_place, p.addend, p.c, p.c_stride,
                         has_panels ? 0 : p.column_k_stride});
  }
  bool can_read_rows() const {
    return to == kernels::rounding::none && order == kernels::packing::by_row;
  }
  bool can_read_columns() const {
    return to == kernels::rounding::none && order == kernels::packing::by_k;
  }
  static constexpr std::size_t depth(std::size_t k) { return k; }
};

/// Operands rounded to bf16, in pairs.
struct bf16_operands {
  using element = std::uint32_t;
  static constexpr std::size_t k_max = kernels::bf16_panel_rows_max;

  const kernels::bf16_kernels& cpu;

  void pack_panel(const kernels::panel_source& source, std::uint32_t* panel) const {
    cpu.pack_panel(source, panel);
  }
  void pack_rows(const kernels::row_source& source, std::uint32_t* rows) const {
    cpu.pack_rows(source, rows);
  }
  void multiply(const packed_part<std::uint32_t>& p) const {
    for (std::size_t row = 0; row < p.rows; row += near_rows)
      for (std::size_t column = 0; column < p.columns; column += panel_columns) {
        const std::size_t to = row * p.c_stride + column;
        cpu.multiply({std::min(near_rows, p.rows - row), p.depth,
                      std::min(panel_columns, p.columns - column), p.packed_rows + row * p.depth,
                      p.panels + column * p.depth, p.addend == nullptr ? nullptr : p.addend + to,
                      p.c + to, p.c_stride});
      }
  }
  static constexpr bool can_read_rows() { return false; }
  static constexpr bool can_read_columns() { return false; }
  static constexpr std::size_t depth(std::size_t k) { return (k + 1) / 2; }
};

/// Operands in fp16, in words of two.
struct fp16_operands {
  using element = std::uint32_t;
  static constexpr std::size_t k_max = 512;

  const kernels::fp16_kernels& halves;
  kernels::packing order;

  void pack_panel(const kernels::panel_source& source, std::uint32_t* panel) const {
    halves.pack_panel(source, panel);
  }
  void pack_rows(const kernels::row_source& source, std::uint32_t* rows) const {
    static_assert(near_rows <= kernels::fp16_pack_rows_max);
    halves.pack_rows(source, rows);
  }
  void multiply(const packed_part<std::uint32_t>& p) const {
    halves.multiply(
        {p.rows, p.k, p.columns, order, p.packed_rows, p.panels, p.addend, p.c, p.c_stride});
  }
  static constexpr bool can_read_rows() { return false; }
  static constexpr bool can_read_columns() { return false; }
  static constexpr std::size_t depth(std::size_t k) { return kernels::fp16_depth(k); }
};

/// Rows of one task: as many as leave enough tasks for all threads, and nearly the same for each.
std::size_t task_rows(std::size_t rows, std::size_t groups) {
  const std::size_t tasks = tasks_per_thread * pool_threads();
  const std::size_t wanted =
      std::clamp(ceil_div(rows * groups, tasks), task_rows_min, task_rows_max);
  const std::size_t even = ceil_div(rows, ceil_div(rows, wanted));
  return padded_rows(even);
}

/// A block of c and a length of k, with both operands packed: pieces of k one after the other, and
/// of each all rows or panels.
template <class Operands>
class packed_block {
 public:
  packed_block(const Operands& operands, const strided_product& p) : operands_(operands), p_(p) {
    pieces_ = ceil_div(p.k, Operands::k_max);
    panels_ = ceil_div(p.n, panel_columns);
    padded_rows_ = padded_rows(p.m);
    rows_in_place_ = panels_ <= in_place_panels_max && operands.can_read_rows();
    columns_in_place_ = p.m <= in_place_rows_max && p.b_column_stride == 1 &&
                        p.n % panel_columns == 0 && operands.can_read_columns();
  }

  void run() const {
    pack();
    multiply();
  }

 private:
  using element = typename Operands::element;

  /// Tensors lie at the beginning of a line and in huge pages; these on the processor, also in a
  /// thread that computes on a GPU and merges its adapters here.
  struct room {
    at::Tensor rows = at::empty({packed_elements}, at::kFloat);
    at::Tensor panels = at::empty({packed_elements}, at::kFloat);
  };
  static_assert(sizeof(element) == sizeof(float));
  static_assert(padded_rows(block_extent) * Operands::depth(Operands::k_max) <= packed_elements);

  struct piece {
    std::size_t k, height, depth;
    std::size_t depth_before;  ///< of all pieces before
  };

  piece at(std::size_t index) const {
    const std::size_t k = index * Operands::k_max;
    const std::size_t height = std::min(Operands::k_max, p_.k - k);
    return {k, height, Operands::depth(height), index * Operands::depth(Operands::k_max)};
  }

  auto* rows_of(const piece& of, std::size_t row) const {
    return static_cast<element*>(room_.rows.mutable_data_ptr()) + of.depth_before * padded_rows_ +
           of.depth * row;
  }
  auto* panel_of(const piece& of, std::size_t panel) const {
    return static_cast<element*>(room_.panels.mutable_data_ptr()) +
           (of.depth_before * panels_ + of.depth * panel) * panel_columns;
  }

  void pack() const {
    const std::size_t row_tasks = rows_in_place_ ? 0 : ceil_div(p_.m, near_rows);
    const std::size_t tasks = row_tasks + (columns_in_place_ ? 0 : panels_);
    for_ranges(tasks * pieces_, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const piece of = at(i / tasks);
        const std::size_t task = i % tasks;
        if (task < row_tasks) {
          pack_rows(of, task * near_rows);
        } else {
          pack_panel(of, task - row_tasks);
        }
      }
    });
  }

  void pack_rows(const piece& of, std::size_t row) const {
    operands_.pack_rows(
        {p_.a + row * p_.a_row_stride + of.k * p_.a_k_stride, std::min(near_rows, p_.m - row),
         of.height, p_.a_row_stride, p_.a_k_stride},
        rows_of(of, row));
  }

  void pack_panel(const piece& of, std::size_t panel) const {
    const std::size_t column = panel * panel_columns;
    operands_.pack_panel(
        {p_.b + of.k * p_.b_k_stride + column * p_.b_column_stride, of.height,
         std::min(panel_columns, p_.n - column), p_.b_k_stride, p_.b_column_stride},
        panel_of(of, panel));
  }

  void multiply() const {
    const std::size_t groups = ceil_div(panels_, task_panels);
    const std::size_t height = task_rows(p_.m, groups);
    const std::size_t row_tasks = ceil_div(p_.m, height);
    for_ranges(groups * row_tasks, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t task = begin; task < end; ++task) {
        const std::size_t first = task % row_tasks * height;
        const std::size_t last = std::min(p_.m, first + height);
        for (std::size_t i = 0; i < pieces_; ++i)
          multiply_piece(i, first, last - first, task / row_tasks * task_panels);
      }
    });
  }

  void multiply_piece(std::size_t index, std::size_t row, std::size_t rows,
                      std::size_t first_panel) const {
    const piece of = at(index);
    const float* const addend = index == 0 ? p_.addend : p_.c;
    const std::size_t column = first_panel * panel_columns;
    const std::size_t to = row * p_.c_stride + column;
    const float* const a = p_.a + row * p_.a_row_stride + of.k;
    const float* const b = p_.b + of.k * p_.b_k_stride + column;
    operands_.multiply({rows, of.height, of.depth,
                        std::min(task_panels * panel_columns, p_.n - column), rows_of(of, row),
                        rows_in_place_ ? a : nullptr, p_.a_row_stride, panel_of(of, first_panel),
                        columns_in_place_ ? b : nullptr, p_.b_k_stride,
                        addend == nullptr ? nullptr : addend + to, p_.c + to, p_.c_stride});
  }

  const Operands& operands_;
  const strided_product& p_;
  std::size_t pieces_, panels_, padded_rows_;
  bool rows_in_place_, columns_in_place_;
  /// Of the thread that calls; those that help write to it too.
  static inline thread_local room thread_room_;
  room& room_ = thread_room_;
};

template <class Operands>
void multiply_with(const Operands& operands, const strided_product& p) {
  const std::size_t padded = ceil_div(p.n, panel_columns) * panel_columns;
  const std::size_t extent = padded_rows(std::min(block_extent, std::max(p.m, padded)));
  const std::size_t pieces = packed_elements / extent / Operands::depth(Operands::k_max);
  const std::size_t k_step = pieces * Operands::k_max;
  for (std::size_t row = 0; row < p.m; row += block_extent)
    for (std::size_t column = 0; column < p.n; column += block_extent)
      for (std::size_t k = 0; k < p.k; k += k_step) {
        const std::size_t at = row * p.c_stride + column;
        const float* const addend = k == 0 ? p.addend : p.c;
        const strided_product part{std::min(block_extent, p.m - row),
                                   std::min(block_extent, p.n - column),
                                   std::min(k_step, p.k - k),
                                   p.a + row * p.a_row_stride + k * p.a_k_stride,
                                   p.a_row_stride,
                                   p.a_k_stride,
                                   p.b + k * p.b_k_stride + column * p.b_column_stride,
                                   p.b_k_stride,
                                   p.b_column_stride,
                                   addend == nullptr ? nullptr : addend + at,
                                   p.c + at,
                                   p.c_stride};
        packed_block(operands, part).run();
      }
}

}  // namespace

product_scope::product_scope(compute_type type) : outer_(std::exchange(current_type, type)) {}

product_scope::~product_scope() {
  current_type = outer_;
}

compute_type product_type() {
  return current_type;
}

const kernels::fp16_kernels* half_products() {
  const bool takes_pairs = kernels::bf16_for_this_cpu() != nullptr;
  return current_type == compute_type::fp32 || takes_pairs ? nullptr : kernels::fp16_for_this_cpu();
}

void multiply(const strided_product& p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    for (std::size_t row = 0; p.addend == nullptr && row < p.m; ++row)
      std::fill_n(p.c + row * p.c_stride, p.n, 0.0F);
    return;
  }
  const timed_part timed(&pass_seconds::products);
  const kernels::packing order = kernels::packing_of(p.a_k_stride);
  if (current_type == compute_type::fp32)
    return multiply_with(fp32_operands{kernels::rounding::none, order}, p);
  if (const kernels::bf16_kernels* const pairs = kernels::bf16_for_this_cpu())
    return multiply_with(bf16_operands{*pairs}, p);
  if (const kernels::fp16_kernels* const halves = half_products())
    return multiply_with(fp16_operands{*halves, order}, p);
  multiply_with(fp32_operands{kernels::rounding::bf16, order}, p);
}

}  // namespace troupe::gpu
