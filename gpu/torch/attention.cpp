#include "gpu/torch/attention.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/library/attention.hpp"
#include "gpu/torch/pass_clock.hpp"
#include "gpu/torch/product.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {
namespace {

/// Widths of one row, in elements.
struct head_layout {
  explicit head_layout(const model_config& m)
      : dim(m.head_dim),
        queries(m.num_heads),
        keys(m.num_kv_heads),
        group(m.num_heads / m.num_kv_heads) {}

  std::size_t dim, queries, keys, group;
  std::size_t qkv_width() const { return (queries + 2 * keys) * dim; }
  std::size_t rotated_width() const { return (queries + keys) * dim; }
  std::size_t out_width() const { return queries * dim; }
};

std::vector<std::size_t> row_positions(const packed_batch& batch) {
  std::vector<std::size_t> positions;
  positions.reserve(batch.num_tokens());
  for (std::size_t s = 0; s < batch.num_sequences(); ++s)
    for (std::size_t p = 0; p < batch.length(s); ++p)
      positions.push_back(p);
  return positions;
}

/// What computes tasks; their products are fp16 where those of layers are.
struct task_kernels {
  void (*forward)(const kernels::attention_task& task);
  void (*backward)(const kernels::attention_task& task);
  std::size_t (*scratch)(std::size_t length, std::size_t head_dim);
};

task_kernels chosen_kernels() {
  if (const kernels::fp16_kernels* const halves = half_products())
    return {halves->attention, halves->attention_backward, halves->attention_scratch};
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  return {cpu.attention, cpu.attention_backward, &kernels::attention_scratch};
}

/// Runs body(task, scratch) for every (sequence, key head), longest sequences first.
template <class Body>
void for_each_task(const head_layout& heads, const packed_batch& batch, const task_kernels& cpu,
                   const Body& body) {
  std::vector<std::size_t> order(batch.num_sequences());
  for (std::size_t s = 0; s < order.size(); ++s)
    order[s] = s;
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return batch.length(a) > batch.length(b); });
  const std::size_t longest = order.empty() ? 0 : batch.length(order.front());
  for_ranges(order.size() * heads.keys, 1, [&](std::size_t begin, std::size_t end) {
    const at::Tensor scratch = make_tensor({cpu.scratch(longest, heads.dim)});
    for (std::size_t task = begin; task < end; ++task)
      body(order[task / heads.keys], task % heads.keys, scratch.mutable_data_ptr<float>());
  });
}

kernels::attention_task make_task(const head_layout& heads, const packed_batch& batch,
                                  std::size_t sequence, std::size_t key_head, const float* rotated,
                                  const float* qkv) {
  const std::size_t row = batch.offsets[sequence];
  kernels::attention_task task;
  task.length = batch.length(sequence);
  task.head_dim = heads.dim;
  task.num_query_heads = heads.group;
  task.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(heads.dim)));
  task.q = rotated + row * heads.rotated_width() + key_head * heads.group * heads.dim;
  task.k = rotated + row * heads.rotated_width() + (heads.queries + key_head) * heads.dim;
  task.v = qkv + row * heads.qkv_width() + (heads.queries + heads.keys + key_head) * heads.dim;
  task.q_stride = task.k_stride = heads.rotated_width();
  task.v_stride = heads.qkv_width();
  task.out_stride = heads.out_width();
  task.lse_stride = heads.queries;
  return task;
}

}  // namespace

namespace {

/// body(row, position, head) for the query and key heads of all rows.
template <class Body>
void for_each_rotated(const head_layout& heads, const packed_batch& batch, const Body& body) {
  const std::vector<std::size_t> positions = row_positions(batch);
  for_ranges(positions.size(), 32, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t h = 0; h < heads.queries + heads.keys; ++h)
        body(row, positions[row], h);
  });
}

rotated_heads rotate_only(const head_layout& heads, const packed_batch& batch,
                          const rotary_cache& rotary, const at::Tensor& qkv) {
  rotated_heads out{make_tensor({batch.num_tokens(), heads.rotated_width()}), {}};
  const float* const from = values(qkv);
  float* const to = values(out.heads);
  for_each_rotated(heads, batch, [&](std::size_t row, std::size_t position, std::size_t h) {
    kernels::for_this_cpu().rotate(heads.dim, from + row * heads.qkv_width() + h * heads.dim,
                                   rotary.cosine(position), rotary.sine(position),
                                   to + row * heads.rotated_width() + h * heads.dim);
  });
  return out;
}

void rotate_only_backward(const head_layout& heads, const packed_batch& batch,
                          const rotary_cache& rotary, at::Tensor& gradient) {
  float* const dy = values(gradient);
  for_each_rotated(heads, batch, [&](std::size_t row, std::size_t position, std::size_t h) {
    kernels::for_this_cpu().rotate_backward(heads.dim, rotary.cosine(position),
                                            rotary.sine(position),
                                            dy + row * heads.qkv_width() + h * heads.dim);
  });
}

}  // namespace

rotated_heads norm_and_rotate(const model_config& model, const packed_batch& batch,
                              const rotary_cache& rotary, const at::Tensor& qkv,
                              const at::Tensor& q_norm, const at::Tensor& k_norm) {
  if (uses_library()) return library::norm_and_rotate(model, batch, rotary, qkv, q_norm, k_norm);
  const head_layout heads(model);
  if (!q_norm.defined()) return rotate_only(heads, batch, rotary, qkv);
  const std::size_t rotated_count = heads.queries + heads.keys;
  rotated_heads out{make_tensor({batch.num_tokens(), heads.rotated_width()}),
                    make_tensor({batch.num_tokens(), rotated_count})};
  const float* const from = values(qkv);
  float* const to = values(out.heads);
  float* const rstd = values(out.rstd);
  const float* const q_weight = values(q_norm);
  const float* const k_weight = values(k_norm);
  const auto eps = static_cast<float>(model.rms_norm_eps);
  for_each_rotated(heads, batch, [&](std::size_t row, std::size_t position, std::size_t h) {
    rstd[row * rotated_count + h] = kernels::for_this_cpu().norm_rotate(
        heads.dim, from + row * heads.qkv_width() + h * heads.dim,
        h < heads.queries ? q_weight : k_weight, eps, rotary.cosine(position),
        rotary.sine(position), to + row * heads.rotated_width() + h * heads.dim);
  });
  return out;
}

void norm_and_rotate_backward(const model_config& model, const packed_batch& batch,
                              const rotary_cache& rotary, const at::Tensor& qkv,
                              const at::Tensor& rstd, const at::Tensor& q_norm,
                              const at::Tensor& k_norm, at::Tensor gradient,
                              at::Tensor q_norm_gradient, at::Tensor k_norm_gradient,
                              write_mode mode) {
  if (uses_library())
    return library::norm_and_rotate_backward(model, batch, rotary, qkv, rstd, q_norm, k_norm,
                                             gradient, {q_norm_gradient, k_norm_gradient}, mode);
  const head_layout heads(model);
  if (!q_norm.defined()) {
    rotate_only_backward(heads, batch, rotary, gradient);
    return;
  }
  const std::size_t rotated_count = heads.queries + heads.keys;
  const std::vector<std::size_t> positions = row_positions(batch);
  row_sums q_sums(positions.size(), heads.dim);
  row_sums k_sums(positions.size(), heads.dim);
  const float* const x = values(qkv);
  const float* const q_weight = values(q_norm);
  const float* const k_weight = values(k_norm);
  const float* const rstds = values(rstd);
  float* const dy = values(gradient);
  for_ranges(q_sums.num_tiles(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t t = first; t < last; ++t) {
      const std::size_t end = std::min(positions.size(), (t + 1) * row_sums::tile);
      for (std::size_t row = t * row_sums::tile; row < end; ++row)
        for (std::size_t h = 0; h < rotated_count; ++h) {
          const bool is_query = h < heads.queries;
          const std::size_t at = row * heads.qkv_width() + h * heads.dim;
          kernels::for_this_cpu().norm_rotate_backward(
              heads.dim, x + at, is_query ? q_weight : k_weight, rstds[row * rotated_count + h],
              rotary.cosine(positions[row]), rotary.sine(positions[row]), dy + at,
              is_query ? q_sums.of_tile(t) : k_sums.of_tile(t));
        }
    }
  });
  if (!q_norm_gradient.defined()) return;
  q_sums.add_up(values(q_norm_gradient), mode);
  k_sums.add_up(values(k_norm_gradient), mode);
}

attended attention(const model_config& model, const packed_batch& batch, const at::Tensor& rotated,
                   const at::Tensor& qkv) {
  const timed_part timed(&pass_seconds::attention);
  if (uses_library()) return library::attention(model, batch, rotated, qkv);
  const head_layout heads(model);
  attended result{make_tensor({batch.num_tokens(), heads.out_width()}),
                  make_tensor({batch.num_tokens(), heads.queries}),
                  {}};
  float* const out = values(result.out);
  float* const lse = values(result.lse);
  const task_kernels cpu = chosen_kernels();
  for_each_task(heads, batch, cpu, [&](std::size_t sequence, std::size_t key_head, float* scratch) {
    auto task = make_task(heads, batch, sequence, key_head, values(rotated), values(qkv));
    const std::size_t row = batch.offsets[sequence];
    task.out = out + row * heads.out_width() + key_head * heads.group * heads.dim;
    task.lse = lse + row * heads.queries + key_head * heads.group;
    task.scratch = scratch;
    cpu.forward(task);
  });
  return result;
}

at::Tensor attention_backward(const model_config& model, const packed_batch& batch,
                              const at::Tensor& rotated, const at::Tensor& qkv,
                              const attended& forward, const at::Tensor& gradient) {
  const timed_part timed(&pass_seconds::attention);
  if (uses_library())
    return library::attention_backward(model, batch, rotated, qkv, forward, gradient);
  const head_layout heads(model);
  at::Tensor result = make_tensor({batch.num_tokens(), heads.qkv_width()});
  at::Tensor out = forward.out;
  at::Tensor lse = forward.lse;
  float* const to = values(result);
  const task_kernels cpu = chosen_kernels();
  for_each_task(heads, batch, cpu, [&](std::size_t sequence, std::size_t key_head, float* scratch) {
    auto task = make_task(heads, batch, sequence, key_head, values(rotated), values(qkv));
    const std::size_t row = batch.offsets[sequence];
    const std::size_t out_at = row * heads.out_width() + key_head * heads.group * heads.dim;
    float* const to_row = to + row * heads.qkv_width();
    task.out = values(out) + out_at;
    task.out_gradient = values(gradient) + out_at;
    task.lse = values(lse) + row * heads.queries + key_head * heads.group;
    task.scratch = scratch;
    task.q_gradient = to_row + key_head * heads.group * heads.dim;
    task.k_gradient = to_row + (heads.queries + key_head) * heads.dim;
    task.v_gradient = to_row + (heads.queries + heads.keys + key_head) * heads.dim;
    task.gradient_stride = heads.qkv_width();
    cpu.backward(task);
  });
  return result;
}

}  // namespace troupe::gpu
