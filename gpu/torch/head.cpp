#include "gpu/torch/head.hpp"

#include <algorithm>
#include <cmath>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/likeliest.hpp"
#include "gpu/logprob.hpp"
#include "gpu/torch/library/logprobs.hpp"
#include "gpu/torch/library/transfers.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {
namespace {

/// Logits that exist at one time when they are not kept.
constexpr std::size_t chunk_logits_max = 4 * 1024 * 1024;

/// A GPU is idle in small products, and has the memory for large ones.
constexpr std::size_t gpu_chunk_rows = 2048;

std::size_t chunk_rows(std::size_t vocabulary) {
  if (current_placement().gpu) return gpu_chunk_rows;
  return std::clamp<std::size_t>(chunk_logits_max / vocabulary, 64, 2048);
}

at::Tensor rows_of(const at::Tensor& matrix, std::size_t begin, std::size_t end) {
  return matrix.narrow(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin));
}

void reduce_chunk(const at::Tensor& logits, std::size_t first_row, const row_targets& targets,
                  head_output& out) {
  if (uses_library()) return library::score_rows(logits, first_row, targets, out);
  const std::size_t width = extent(logits, 1);
  const float* const from = values(logits);
  for_ranges(extent(logits, 0), 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = first_row + i;
      const float* const z = from + i * width;
      const float lse = kernels::for_this_cpu().log_sum_exp(width, z);
      out.lse[row] = lse;
      for (std::size_t t = targets.first[row]; t < targets.first[row + 1]; ++t)
        out.logprobs[t] = logprob_of(z[static_cast<std::size_t>(targets.tokens[t])], lse);
    }
  });
}

/// Each term is at least 0, so that nothing cancels; NaN stays NaN.
float entropy_of(std::span<const float> logits, float lse) {
  double sum = 0;
  for (const float z : logits) {
    const double below = static_cast<double>(lse) - static_cast<double>(z);
    sum += std::exp(-below) * below;
  }
  return static_cast<float>(std::max(sum, 0.0));
}

void tell_chunk(const at::Tensor& logits, std::size_t first_row, const row_details& wanted,
                head_output& out) {
  const at::Tensor host = library::on_host(logits);
  const std::size_t width = extent(logits, 1);
  const std::size_t per_row = out.likeliest.per_position;
  for_ranges(extent(logits, 0), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = first_row + i;
      const std::span<const float> z(values(host) + i * width, width);
      if (wanted.entropy) out.entropies[row] = entropy_of(z, out.lse[row]);
      if (per_row == 0) continue;
      likeliest_tokens best;
      append_likeliest(z, out.lse[row], wanted.topk, best);
      std::ranges::copy(best.tokens, out.likeliest.tokens.data() + row * per_row);
      std::ranges::copy(best.logprobs, out.likeliest.logprobs.data() + row * per_row);
    }
  });
}

void make_room(const row_details& wanted, std::size_t rows, std::size_t vocabulary,
               head_output& out) {
  if (wanted.entropy) out.entropies.resize(rows);
  const std::size_t per_row = std::min<std::size_t>(wanted.topk, vocabulary);
  out.likeliest.per_position = static_cast<std::uint32_t>(per_row);
  out.likeliest.tokens.resize(rows * per_row);
  out.likeliest.logprobs.resize(rows * per_row);
}

/// Active rows of one backward, and what belongs to them.
struct backward_rows {
  std::vector<std::size_t> rows;
  const row_targets& targets;
  std::span<const float> gradient;
  const head_output& output;
};

/// Rows that are taken together, a part of `rows`. What the maths library computes of a row depends
/// on how many it multiplies, so these lie within one chunk of the forward pass there.
std::span<const std::size_t> next_rows(std::span<const std::size_t> rows, std::size_t step) {
  if (!uses_library()) return rows.first(std::min(step, rows.size()));
  const std::size_t chunk_end = (rows.front() / step + 1) * step;
  const auto end = std::ranges::lower_bound(rows, chunk_end);
  return rows.first(static_cast<std::size_t>(end - rows.begin()));
}

/// The gradient of a row's logits `z`: each target pulls at itself and pushes all. `dz` may be `z`.
void row_gradient(std::size_t width, const float* z, std::size_t row, const backward_rows& active,
                  float* dz) {
  const std::size_t begin = active.targets.first[row];
  const std::size_t end = active.targets.first[row + 1];
  float sum = 0;
  for (std::size_t t = begin; t < end; ++t)
    sum += active.gradient[t];
  const auto target = [&](std::size_t t) {
    return static_cast<std::size_t>(active.targets.tokens[t]);
  };
  kernels::for_this_cpu().logprob_backward(width, active.output.lse[row], target(begin), sum, z,
                                           dz);
  if (end == begin + 1) return;
  dz[target(begin)] -= sum;
  for (std::size_t t = begin; t < end; ++t)
    dz[target(t)] += active.gradient[t];
}

/// Row i of `dz` becomes the gradient of rows[i]'s logits, row place(i) of `logits`.
template <class Place>
void logit_gradients(const at::Tensor& logits, std::span<const std::size_t> rows,
                     const backward_rows& active, at::Tensor& dz, const Place& place) {
  const std::size_t width = extent(logits, 1);
  const float* const z = values(logits);
  float* const to = values(dz);
  for_ranges(rows.size(), 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      row_gradient(width, z + place(i) * width, rows[i], active, to + i * width);
  });
}

/// The same in place.
at::Tensor replaced_by_gradients(at::Tensor logits, std::span<const std::size_t> rows,
                                 const backward_rows& active) {
  if (uses_library()) {
    library::score_gradients(logits, rows, active.targets, active.gradient, active.output.lse);
  } else {
    logit_gradients(logits, rows, active, logits, [](std::size_t i) { return i; });
  }
  return logits;
}

bool are_contiguous(std::span<const std::size_t> rows) {
  return rows.back() - rows.front() + 1 == rows.size();
}

/// Gradients of rows whose logits stand among others, of which `logits` has those from `begin` on.
at::Tensor taken_gradients(const at::Tensor& logits, std::size_t begin,
                           std::span<const std::size_t> rows, const backward_rows& active) {
  if (are_contiguous(rows))
    return replaced_by_gradients(rows_of(logits, rows.front() - begin, rows.back() + 1 - begin),
                                 rows, active);
  if (!uses_library()) {
    at::Tensor dz = make_tensor({rows.size(), extent(logits, 1)});
    logit_gradients(logits, rows, active, dz, [&](std::size_t i) { return rows[i] - begin; });
    return dz;
  }
  std::vector<std::size_t> places(rows.begin(), rows.end());
  for (std::size_t& place : places)
    place -= begin;
  return replaced_by_gradients(take_rows(logits, places), rows, active);
}

/// Gradients of rows whose logits were not kept: these rows alone, or their chunk of `step` once
/// more. `x` are the rows' inputs.
at::Tensor gradients_again(const at::Tensor& hidden, const at::Tensor& x, const projection& layer,
                           std::size_t step, std::span<const std::size_t> rows,
                           const backward_rows& active) {
  if (!uses_library()) return replaced_by_gradients(project(layer, x), rows, active);
  const std::size_t begin = rows.front() / step * step;
  const at::Tensor chunk = rows_of(hidden, begin, std::min(extent(hidden, 0), begin + step));
  at::Tensor logits = make_tensor({extent(chunk, 0), extent(layer.weight, 0)});
  project_into(layer, chunk, logits);
  return taken_gradients(logits, begin, rows, active);
}

}  // namespace

head_output head_forward(const at::Tensor& hidden, const projection& layer,
                         const row_targets& targets, std::size_t kept_bytes_max,
                         const row_details& wanted) {
  const std::size_t rows = extent(hidden, 0);
  const std::size_t vocabulary = extent(layer.weight, 0);
  head_output out;
  out.logprobs.resize(targets.tokens.size());
  out.lse.resize(rows);
  make_room(wanted, rows, vocabulary, out);
  const bool keeps_logits = rows > 0 && rows * vocabulary * sizeof(float) <= kept_bytes_max;
  const std::size_t step = std::min(rows, chunk_rows(vocabulary));
  at::Tensor logits = make_tensor({keeps_logits ? rows : step, vocabulary});
  for (std::size_t begin = 0; begin < rows; begin += step) {
    const std::size_t end = std::min(rows, begin + step);
    at::Tensor chunk = keeps_logits ? rows_of(logits, begin, end) : rows_of(logits, 0, end - begin);
    project_into(layer, rows_of(hidden, begin, end), chunk);
    reduce_chunk(chunk, begin, targets, out);
    if (wanted.topk > 0 || wanted.entropy) tell_chunk(chunk, begin, wanted, out);
  }
  if (keeps_logits) out.logits = logits;
  return out;
}

at::Tensor head_backward(const at::Tensor& hidden, const projection& layer,
                         const row_targets& targets, head_output& output,
                         std::span<const float> logprob_gradient, const projection& gradient,
                         write_mode mode) {
  const std::size_t width = extent(layer.weight, 1);
  backward_rows active{{}, targets, logprob_gradient, output};
  for (std::size_t row = 0; row < extent(hidden, 0); ++row) {
    const auto of_row =
        logprob_gradient.subspan(targets.first[row], targets.first[row + 1] - targets.first[row]);
    if (std::ranges::any_of(of_row, [](float g) { return g != 0.0F; })) active.rows.push_back(row);
  }
  if (active.rows.empty() && mode == write_mode::overwrite) clear(gradient);

  const bool is_every = active.rows.size() == extent(hidden, 0);
  at::Tensor dx = is_every ? make_tensor({active.rows.size(), width}) : make_zeros(hidden.sizes());
  const std::size_t step = std::min(extent(hidden, 0), chunk_rows(extent(layer.weight, 0)));
  for (std::span<const std::size_t> left = active.rows; !left.empty();) {
    const auto rows = next_rows(left, step);
    left = left.subspan(rows.size());
    const bool is_contiguous = are_contiguous(rows);
    const std::size_t begin = rows.front();
    const at::Tensor x =
        is_contiguous ? rows_of(hidden, begin, begin + rows.size()) : take_rows(hidden, rows);
    const at::Tensor dz = output.logits.defined()
                              ? taken_gradients(output.logits, 0, rows, active)
                              : gradients_again(hidden, x, layer, step, rows, active);
    if (is_contiguous) {
      project_backward_into(layer, x, dz, gradient, mode, rows_of(dx, begin, begin + rows.size()));
    } else {
      put_rows(project_backward(layer, x, dz, gradient, mode), rows, dx);
    }
    mode = write_mode::add;
  }
  output.logits.reset();
  return dx;
}

}  // namespace troupe::gpu
