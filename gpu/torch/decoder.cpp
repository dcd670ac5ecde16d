#include "gpu/torch/decoder.hpp"

#include <algorithm>
#include <array>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/routing.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {
namespace {

using kernels::cache_block;
using kernels::cache_page;

std::vector<adapter_run> runs_of(std::span<const decoder_row> rows) {
  std::vector<const torch_adapter*> adapters;
  for (const decoder_row& row : rows)
    adapters.push_back(row.adapter);
  return adapter_runs(adapters);
}

}  // namespace

decoder::row_set::row_set(std::span<const decoder_row> of)
    : rows(of), runs(runs_of(of)), groups(group_by_pages(of)) {}

decoder::decoder(const model_config& model)
    : model_(model), rotary_(model), parameters_(parameter_layout(model)) {}

at::Tensor decoder::embed(std::span<const decoder_row> rows) const {
  const std::size_t width = model_.hidden_size;
  at::Tensor x = make_tensor({rows.size(), width});
  for (std::size_t i = 0; i < rows.size(); ++i)
    parameters_[embedding_index].matrix.front().copy_row(static_cast<std::size_t>(rows[i].token),
                                                         values(x) + i * width);
  return x;
}

at::Tensor decoder::run(std::span<const decoder_row> rows) {
  for (const decoder_row& row : rows)
    rotary_.grow_to(row.position + 1);
  const row_set set(rows);
  at::Tensor x = embed(rows);
  for (std::uint32_t block = 0; block + 1 < model_.num_layers; ++block)
    x = finish_block(block, set, start_block(block, set, x), x);
  return run_last_block(set, x);
}

at::Tensor decoder::run_last_block(const row_set& set, const at::Tensor& x) const {
  const std::uint32_t block = model_.num_layers - 1;
  const at::Tensor queries = start_block(block, set, x);
  std::vector<std::size_t> places;
  std::vector<decoder_row> wanted;
  for (std::size_t i = 0; i < set.rows.size(); ++i) {
    if (!set.rows[i].is_wanted) continue;
    places.push_back(i);
    wanted.push_back(set.rows[i]);
  }
  if (wanted.size() == set.rows.size()) return finish_block(block, set, queries, x);
  at::Tensor y = make_tensor({extent(x, 0), extent(x, 1)});
  if (wanted.empty()) return y;
  put_rows(finish_block(block, row_set(wanted), take_rows(queries, places), take_rows(x, places)),
           places, y);
  return y;
}

at::Tensor decoder::logits(const at::Tensor& hidden,
                           std::span<const torch_adapter* const> adapters) const {
  const at::Tensor& norm = parameters_[final_norm_index(model_)].vector;
  const auto head = static_cast<std::uint32_t>(head_index(model_));
  const at::Tensor x = rms_norm(hidden, norm, model_.rms_norm_eps).y;
  at::Tensor y = parameters_[head].matrix.front().multiply(x);
  add_low_rank(adapter_runs(adapters), head, x, y);
  return y;
}

const parameter_store* decoder::find(std::uint32_t block, role what) const {
  const auto index = parameter_index(model_, block, what);
  return index ? &parameters_[*index] : nullptr;
}

at::Tensor decoder::multiply(std::uint32_t block, role what, const at::Tensor& x,
                             std::span<const adapter_run> runs) const {
  const auto index = parameter_index(model_, block, what).value_or(0);
  at::Tensor y = parameters_[index].matrix.front().multiply(x);
  add_low_rank(runs, index, x, y);
  return y;
}

std::vector<at::Tensor> decoder::multiply_each(std::uint32_t block,
                                               std::span<const biased_role> roles,
                                               const at::Tensor& x,
                                               std::span<const adapter_run> runs) const {
  std::vector<packed_product> products;
  for (const auto& [matrix, bias] : roles) {
    const parameter_store* const weights = find(block, matrix);
    products.push_back({&weights->matrix.front(), {}});
    const parameter_store* const added = bias ? find(block, *bias) : nullptr;
    if (added == nullptr) continue;
    products.back().residual = make_tensor({extent(x, 0), count(added->vector)});
    repeat_row(added->vector, products.back().residual);
  }
  std::vector<at::Tensor> out = gpu::multiply_each(products, x);
  for (std::size_t i = 0; i < roles.size(); ++i)
    add_low_rank(runs, parameter_index(model_, block, roles[i].matrix).value_or(0), x, out[i]);
  return out;
}

at::Tensor decoder::multiply_add(std::uint32_t block, role what, const at::Tensor& x,
                                 const at::Tensor& residual,
                                 std::span<const adapter_run> runs) const {
  const auto index = parameter_index(model_, block, what).value_or(0);
  at::Tensor y = parameters_[index].matrix.front().multiply_add(x, residual);
  add_low_rank(runs, index, x, y);
  return y;
}

at::Tensor decoder::start_block(std::uint32_t block, const row_set& set,
                                const at::Tensor& x) const {
  const at::Tensor input =
      rms_norm(x, find(block, role::input_norm)->vector, model_.rms_norm_eps).y;
  constexpr std::array<biased_role, 3> heads{
      {{role::q_proj, role::q_bias}, {role::k_proj, role::k_bias}, {role::v_proj, role::v_bias}}};
  const auto qkv = multiply_each(block, heads, input, set.runs);
  fill_caches(block, set.rows, qkv[0], qkv[1], qkv[2]);
  return qkv[0];
}

at::Tensor decoder::finish_block(std::uint32_t block, const row_set& set, const at::Tensor& queries,
                                 const at::Tensor& x) const {
  at::Tensor attended = make_tensor({set.rows.size(), extent(queries, 1)});
  cached_attention(model_, block, set.groups, values(queries), values(attended));
  const at::Tensor middle = multiply_add(block, role::o_proj, attended, x, set.runs);
  const at::Tensor post =
      rms_norm(middle, find(block, role::post_attention_norm)->vector, model_.rms_norm_eps).y;
  if (model_.experts.count != 0) return run_experts(block, set, post, middle);
  constexpr std::array<biased_role, 2> halves{{{role::gate_proj, {}}, {role::up_proj, {}}}};
  const auto gate_up = multiply_each(block, halves, post, set.runs);
  const at::Tensor inner = swiglu(gate_up[0], gate_up[1]);
  return multiply_add(block, role::down_proj, inner, middle, set.runs);
}

at::Tensor decoder::run_experts(std::uint32_t block, const row_set& set, const at::Tensor& x,
                                const at::Tensor& residual) const {
  const routing choice = route(model_.experts, multiply(block, role::router, x, {}));
  const at::Tensor input = gather_places(choice, x);
  at::Tensor inner = make_tensor({choice.num_places(), model_.experts.width});
  const at::Tensor output = make_tensor({choice.num_places(), extent(x, 1)});
  const auto runs_between = [&](std::size_t begin, std::size_t end) {
    std::vector<const torch_adapter*> adapters;
    for (std::size_t place = begin; place < end && !set.runs.empty(); ++place)
      adapters.push_back(set.rows[choice.slots[place] / model_.experts.per_token].adapter);
    return adapter_runs(adapters);
  };
  const auto product = [&](std::uint32_t expert, role what, const at::Tensor& part,
                           std::span<const adapter_run> runs) {
    const auto index = parameter_index(model_, expert_place{block, expert}, what).value_or(0);
    at::Tensor y = parameters_[index].matrix.front().multiply(part);
    add_low_rank(runs, index, part, y);
    return y;
  };
  const auto for_each_expert = [&](const auto& body) {
    for (std::uint32_t e = 0; e < model_.experts.count; ++e) {
      const std::size_t begin = choice.offsets[e];
      const std::size_t end = choice.offsets[e + 1];
      if (end > begin)
        body(e, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin),
             runs_between(begin, end));
    }
  };
  for_each_expert([&](std::uint32_t e, std::int64_t begin, std::int64_t rows, const auto& runs) {
    const at::Tensor part = input.narrow(0, begin, rows);
    inner.narrow(0, begin, rows)
        .copy_(
            swiglu(product(e, role::gate_proj, part, runs), product(e, role::up_proj, part, runs)));
  });
  scale_places(choice, inner);
  for_each_expert([&](std::uint32_t e, std::int64_t begin, std::int64_t rows, const auto& runs) {
    output.narrow(0, begin, rows)
        .copy_(product(e, role::down_proj, inner.narrow(0, begin, rows), runs));
  });
  at::Tensor y = residual.clone();
  add_places(choice, output, y);
  return y;
}

void decoder::rotate_head(const parameter_store* norm, const float* head, std::size_t position,
                          float* rotated) const {
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  const float* const cosine = rotary_.cosine(position);
  const float* const sine = rotary_.sine(position);
  if (norm == nullptr) {
    cpu.rotate(model_.head_dim, head, cosine, sine, rotated);
    return;
  }
  cpu.norm_rotate(model_.head_dim, head, values(norm->vector),
                  static_cast<float>(model_.rms_norm_eps), cosine, sine, rotated);
}

void decoder::fill_caches(std::uint32_t block, std::span<const decoder_row> rows, at::Tensor q,
                          const at::Tensor& k, const at::Tensor& v) const {
  const std::size_t dim = model_.head_dim;
  const std::size_t key_heads = model_.num_kv_heads;
  const parameter_store* const q_norm = find(block, role::q_norm);
  const parameter_store* const k_norm = find(block, role::k_norm);
  float* const queries = values(q);
  for_ranges(rows.size(), 8, [&](std::size_t begin, std::size_t end) {
    std::vector<float> rotated(dim);
    for (std::size_t i = begin; i < end; ++i) {
      const decoder_row& row = rows[i];
      for (std::size_t h = 0; h < model_.num_heads; ++h) {
        float* const head = queries + (i * model_.num_heads + h) * dim;
        rotate_head(q_norm, head, row.position, rotated.data());
        std::ranges::copy(rotated, head);
      }
      for (std::size_t h = 0; h < key_heads; ++h) {
        const std::size_t from = (i * key_heads + h) * dim;
        rotate_head(k_norm, values(k) + from, row.position, rotated.data());
        float* const head = row.cache->address(row.position) + offset_in_page(model_, block, h);
        const std::size_t place = row.position % cache_page;
        float* const keys = head + place / cache_block * cache_block * dim + place % cache_block;
        for (std::size_t e = 0; e < dim; ++e)
          keys[e * cache_block] = rotated[e];
        std::copy_n(values(v) + from, dim, head + (cache_page + place) * dim);
      }
    }
  });
}

}  // namespace troupe::gpu
