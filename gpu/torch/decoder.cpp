#include "gpu/torch/decoder.hpp"

#include <algorithm>
#include <cmath>

#include "gpu/bf16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/models/qwen3.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {
namespace {

using kernels::cache_block;
using qwen3::place;

std::size_t padded(std::size_t capacity) {
  return (capacity + cache_block - 1) / cache_block * cache_block;
}

}  // namespace

sequence_cache::sequence_cache(const model_config& model, std::size_t capacity)
    : head_elements_(padded(capacity) * model.head_dim),
      num_key_heads_(model.num_kv_heads),
      elements_(bytes(model, capacity) / sizeof(float)) {}

std::size_t sequence_cache::bytes(const model_config& model, std::size_t capacity) {
  return 2 * sizeof(float) * padded(capacity) * model.head_dim * model.num_kv_heads *
         model.num_layers;
}

float* sequence_cache::keys(std::size_t layer, std::size_t key_head) {
  return elements_.data() + 2 * (layer * num_key_heads_ + key_head) * head_elements_;
}

float* sequence_cache::values_of(std::size_t layer, std::size_t key_head) {
  return keys(layer, key_head) + head_elements_;
}

decoder::decoder(const model_config& model)
    : model_(model), rotary_(model.rope_theta, model.head_dim) {
  for (const parameter_spec& spec : parameter_layout(model)) {
    parameter_store& store = parameters_.emplace_back();
    if (spec.shape.size() == 1) {
      store.vector = at::zeros({static_cast<std::int64_t>(spec.shape[0])}, at::kFloat);
    } else {
      store.matrix.emplace_back(spec.shape[0], spec.shape[1]);
    }
  }
}

void decoder::assign(const parameter_slice& slice, std::span<const std::uint16_t> bits) {
  parameter_store& store = parameters_[slice.parameter];
  if (!store.matrix.empty()) {
    store.matrix.front().assign(slice.begin, bits);
    return;
  }
  for (std::size_t i = 0; i < bits.size(); ++i)
    values(store.vector)[slice.begin + i] = from_bf16(bits[i]);
}

void decoder::assign_one(std::uint32_t parameter, std::uint64_t element, std::uint16_t bits) {
  assign({parameter, element, element + 1}, {&bits, 1});
}

at::Tensor decoder::embed(std::span<const decoder_row> rows) const {
  const std::size_t width = model_.hidden_size;
  at::Tensor x = make_tensor({rows.size(), width});
  for (std::size_t i = 0; i < rows.size(); ++i)
    parameters_[qwen3::embedding].matrix.front().copy_row(static_cast<std::size_t>(rows[i].token),
                                                          values(x) + i * width);
  return x;
}

at::Tensor decoder::run(std::span<const decoder_row> rows) {
  for (const decoder_row& row : rows)
    rotary_.grow_to(row.position + 1);
  at::Tensor x = embed(rows);
  for (std::uint32_t block = 0; block < model_.num_layers; ++block)
    x = run_block(block, rows, x);
  return x;
}

at::Tensor decoder::logits(const at::Tensor& hidden) const {
  const at::Tensor& norm = parameters_[qwen3::final_norm(model_)].vector;
  return parameters_[qwen3::head(model_)].matrix.front().multiply(
      rms_norm(hidden, norm, model_.rms_norm_eps).y);
}

at::Tensor decoder::run_block(std::uint32_t block, std::span<const decoder_row> rows,
                              const at::Tensor& x) {
  const auto at = [&](place where) -> const parameter_store& {
    return parameters_[qwen3::parameter_index(block, where)];
  };
  const double eps = model_.rms_norm_eps;
  const at::Tensor input = rms_norm(x, at(place::input_norm).vector, eps).y;
  at::Tensor q = at(place::q_proj).matrix.front().multiply(input);
  const at::Tensor k = at(place::k_proj).matrix.front().multiply(input);
  const at::Tensor v = at(place::v_proj).matrix.front().multiply(input);
  fill_caches(block, rows, q, k, v);
  const at::Tensor middle =
      at(place::o_proj).matrix.front().multiply_add(attend(block, rows, q), x);
  const at::Tensor post = rms_norm(middle, at(place::post_attention_norm).vector, eps).y;
  const at::Tensor gate = at(place::gate_proj).matrix.front().multiply(post);
  const at::Tensor up = at(place::up_proj).matrix.front().multiply(post);
  const at::Tensor inner = swiglu(gate, up);
  return at(place::down_proj).matrix.front().multiply_add(inner, middle);
}

void decoder::fill_caches(std::uint32_t block, std::span<const decoder_row> rows, at::Tensor q,
                          const at::Tensor& k, const at::Tensor& v) const {
  const std::size_t dim = model_.head_dim;
  const std::size_t key_heads = model_.num_kv_heads;
  const auto eps = static_cast<float>(model_.rms_norm_eps);
  const float* const q_norm =
      values(parameters_[qwen3::parameter_index(block, place::q_norm)].vector);
  const float* const k_norm =
      values(parameters_[qwen3::parameter_index(block, place::k_norm)].vector);
  float* const queries = values(q);
  for_ranges(rows.size(), 8, [&](std::size_t begin, std::size_t end) {
    const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
    std::vector<float> rotated(dim);
    for (std::size_t i = begin; i < end; ++i) {
      const decoder_row& row = rows[i];
      const float* const cosine = rotary_.cosine(row.position);
      const float* const sine = rotary_.sine(row.position);
      for (std::size_t h = 0; h < model_.num_heads; ++h) {
        float* const head = queries + (i * model_.num_heads + h) * dim;
        cpu.norm_rotate(dim, head, q_norm, eps, cosine, sine, rotated.data());
        std::ranges::copy(rotated, head);
      }
      for (std::size_t h = 0; h < key_heads; ++h) {
        const std::size_t from = (i * key_heads + h) * dim;
        cpu.norm_rotate(dim, values(k) + from, k_norm, eps, cosine, sine, rotated.data());
        float* const keys = row.cache->keys(block, h) +
                            row.position / cache_block * cache_block * dim +
                            row.position % cache_block;
        for (std::size_t e = 0; e < dim; ++e)
          keys[e * cache_block] = rotated[e];
        std::copy_n(values(v) + from, dim, row.cache->values_of(block, h) + row.position * dim);
      }
    }
  });
}

at::Tensor decoder::attend(std::uint32_t block, std::span<const decoder_row> rows,
                           const at::Tensor& q) const {
  const std::size_t dim = model_.head_dim;
  const std::size_t key_heads = model_.num_kv_heads;
  const std::size_t group = model_.num_heads / key_heads;
  at::Tensor out = make_tensor({rows.size(), model_.num_heads * dim});
  float* const to = values(out);
  for_ranges(rows.size(), 4, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scratch;
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t h = 0; h < key_heads; ++h) {
        const std::size_t at = (i * key_heads + h) * group * dim;
        kernels::cached_attention_task task;
        task.num_positions = rows[i].position + 1;
        task.head_dim = dim;
        task.num_query_heads = group;
        task.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
        task.q = values(q) + at;
        task.keys = rows[i].cache->keys(block, h);
        task.values = rows[i].cache->values_of(block, h);
        task.out = to + at;
        scratch.resize(std::max(scratch.size(), padded(task.num_positions)));
        task.scratch = scratch.data();
        kernels::for_this_cpu().cached_attention(task);
      }
  });
  return out;
}

}  // namespace troupe::gpu
