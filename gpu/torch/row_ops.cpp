#include "gpu/torch/row_ops.hpp"

#include <algorithm>
#include <cstring>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/library/rows.hpp"
#include "gpu/torch/library/transfers.hpp"

namespace troupe::gpu {
namespace {

/// Elements worth handing to another thread.
constexpr std::size_t grain_elements = 16 * 1024;

std::size_t row_grain(std::size_t width) {
  return std::max<std::size_t>(1, grain_elements / std::max<std::size_t>(1, width));
}

/// Row i of `to` becomes the row that from(i) points to.
template <class From>
void copy_rows(std::size_t rows, std::size_t width, float* to, const From& from) {
  for_ranges(rows, row_grain(width), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      std::memcpy(to + i * width, from(i), width * sizeof(float));
  });
}

}  // namespace

row_sums::row_sums(std::size_t rows, std::size_t width)
    : num_tiles_((rows + tile - 1) / tile), width_(width), sums_(num_tiles_ * width) {}

void row_sums::add_up(float* into, write_mode mode) const {
  if (mode == write_mode::overwrite) std::fill_n(into, width_, 0.0F);
  for (std::size_t t = 0; t < num_tiles_; ++t)
    kernels::for_this_cpu().add(width_, &sums_[t * width_], into);
}

normed rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (uses_library()) return library::rms_norm(x, weight, eps);
  const std::size_t rows = extent(x, 0);
  const std::size_t width = extent(x, 1);
  normed out{make_tensor({rows, width}), make_tensor({rows})};
  const float* const from = values(x);
  const float* const scale = values(weight);
  float* const to = values(out.y);
  float* const rstd = values(out.rstd);
  for_ranges(rows, row_grain(width), [&](std::size_t begin, std::size_t end) {
    kernels::for_this_cpu().rms_norm(end - begin, width, from + begin * width, scale,
                                     static_cast<float>(eps), to + begin * width, rstd + begin);
  });
  return out;
}

void rms_norm_backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                       const at::Tensor& dy, at::Tensor dx, at::Tensor weight_gradient,
                       write_mode mode) {
  if (uses_library())
    return library::rms_norm_backward(x, weight, rstd, dy, dx, weight_gradient, mode);
  const std::size_t rows = extent(x, 0);
  const std::size_t width = extent(x, 1);
  row_sums sums(rows, width);
  const float* const from = values(x);
  const float* const up = values(dy);
  float* const to = values(dx);
  for_ranges(sums.num_tiles(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t t = first; t < last; ++t) {
      const std::size_t begin = t * row_sums::tile;
      const std::size_t count = std::min(row_sums::tile, rows - begin);
      kernels::for_this_cpu().rms_norm_backward(count, width, from + begin * width, values(weight),
                                                values(rstd) + begin, up + begin * width,
                                                to + begin * width, sums.of_tile(t));
    }
  });
  if (weight_gradient.defined()) sums.add_up(values(weight_gradient), mode);
}

void repeat_row(const at::Tensor& row, at::Tensor to) {
  if (uses_library()) {
    to.copy_(row.expand_as(to));
    return;
  }
  copy_rows(extent(to, 0), count(row), values(to), [&](std::size_t) { return values(row); });
}

at::Tensor take_rows(const at::Tensor& matrix, std::span<const std::size_t> rows) {
  if (uses_library()) return matrix.index_select(0, library::index_tensor(rows));
  const std::size_t width = extent(matrix, 1);
  at::Tensor taken = make_tensor({rows.size(), width});
  const float* const from = values(matrix);
  copy_rows(rows.size(), width, values(taken),
            [&](std::size_t i) { return from + rows[i] * width; });
  return taken;
}

void put_rows(const at::Tensor& from, std::span<const std::size_t> rows, at::Tensor to) {
  if (uses_library()) {
    to.index_copy_(0, library::index_tensor(rows), from);
    return;
  }
  const std::size_t width = extent(to, 1);
  const float* const first = values(from);
  float* const into = values(to);
  for_ranges(rows.size(), row_grain(width), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      std::memcpy(into + rows[i] * width, first + i * width, width * sizeof(float));
  });
}

void sum_rows(const at::Tensor& rows, at::Tensor sum, write_mode mode) {
  if (uses_library()) return library::sum_rows(rows, sum, mode);
  const std::size_t num_rows = extent(rows, 0);
  const std::size_t width = extent(rows, 1);
  row_sums sums(num_rows, width);
  const float* const from = values(rows);
  for_ranges(sums.num_tiles(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t t = first; t < last; ++t)
      for (std::size_t row = t * row_sums::tile; row < std::min(num_rows, (t + 1) * row_sums::tile);
           ++row)
        kernels::for_this_cpu().add(width, from + row * width, sums.of_tile(t));
  });
  sums.add_up(values(sum), mode);
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  if (uses_library()) {
    const auto parts = gate_up.chunk(2, 1);
    return library::swiglu(parts[0], parts[1]);
  }
  const std::size_t rows = extent(gate_up, 0);
  const std::size_t width = extent(gate_up, 1) / 2;
  at::Tensor y = make_tensor({rows, width});
  const float* const from = values(gate_up);
  float* const to = values(y);
  for_ranges(rows, row_grain(width), [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row)
      kernels::for_this_cpu().swiglu(width, from + row * 2 * width, from + (row * 2 + 1) * width,
                                     to + row * width);
  });
  return y;
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  if (uses_library()) return library::swiglu(gate, up);
  at::Tensor y = make_tensor({extent(gate, 0), extent(gate, 1)});
  float* const to = values(y);
  for_ranges(count(gate), grain_elements, [&](std::size_t begin, std::size_t end) {
    kernels::for_this_cpu().swiglu(end - begin, values(gate) + begin, values(up) + begin,
                                   to + begin);
  });
  return y;
}

void swiglu_backward(at::Tensor dy, at::Tensor gate_up) {
  if (uses_library()) return library::swiglu_backward(dy, gate_up);
  const std::size_t rows = extent(gate_up, 0);
  const std::size_t width = extent(gate_up, 1) / 2;
  float* const up = values(dy);
  float* const to = values(gate_up);
  for_ranges(rows, row_grain(width), [&](std::size_t begin, std::size_t end) {
    kernels::for_this_cpu().swiglu_backward(end - begin, width, up + begin * width,
                                            to + begin * 2 * width);
  });
}

at::Tensor embed(std::span<const token_id> tokens, const at::Tensor& embedding) {
  if (uses_library()) return library::embed(tokens, embedding);
  const std::size_t width = extent(embedding, 1);
  at::Tensor x = make_tensor({tokens.size(), width});
  const float* const from = values(embedding);
  copy_rows(tokens.size(), width, values(x),
            [&](std::size_t row) { return from + static_cast<std::size_t>(tokens[row]) * width; });
  return x;
}

void embed_backward(std::span<const token_id> tokens, const at::Tensor& dx,
                    at::Tensor embedding_gradient) {
  if (uses_library()) return library::embed_backward(tokens, dx, embedding_gradient);
  const std::size_t width = extent(embedding_gradient, 1);
  const float* const from = values(dx);
  float* const to = values(embedding_gradient);
  // Threads share columns, not rows: a token that comes twice is added in row order.
  for_ranges(width, 32, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = 0; row < tokens.size(); ++row)
      kernels::for_this_cpu().add(end - begin, from + row * width + begin,
                                  to + static_cast<std::size_t>(tokens[row]) * width + begin);
  });
}

}  // namespace troupe::gpu
