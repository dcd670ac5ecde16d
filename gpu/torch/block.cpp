#include "gpu/torch/block.hpp"

#include "gpu/models/parameter_layout.hpp"

namespace troupe::gpu {
namespace {

at::Tensor view_at(const at::Tensor& flat, std::uint64_t offset, std::int64_t rows,
                   std::int64_t columns) {
  return flat.narrow(0, static_cast<std::int64_t>(offset), rows * columns).view({rows, columns});
}

at::Tensor view_at(const at::Tensor& flat, std::uint64_t offset, std::int64_t elements) {
  return flat.narrow(0, static_cast<std::int64_t>(offset), elements);
}

}  // namespace

block_tensors view_block(const model_config& model, const parameter_group& group,
                         std::uint32_t block, const at::Tensor& flat) {
  const auto offset = [&](role what) {
    return group.offset_of(parameter_index(model, block, what).value_or(0));
  };
  const auto has = [&](role what) { return parameter_index(model, block, what).has_value(); };
  const std::int64_t hidden = model.hidden_size;
  const std::int64_t dim = model.head_dim;
  const std::int64_t queries = model.num_heads * dim;
  const std::int64_t keys = model.num_kv_heads * dim;
  const std::int64_t inner = model.intermediate_size;
  block_tensors views;
  views.qkv.weight = view_at(flat, offset(role::q_proj), queries + 2 * keys, hidden);
  if (has(role::q_bias)) views.qkv.bias = view_at(flat, offset(role::q_bias), queries + 2 * keys);
  views.out.weight = view_at(flat, offset(role::o_proj), hidden, queries);
  if (has(role::q_norm)) {
    views.q_norm = view_at(flat, offset(role::q_norm), dim);
    views.k_norm = view_at(flat, offset(role::k_norm), dim);
  }
  views.gate_up.weight = view_at(flat, offset(role::gate_proj), 2 * inner, hidden);
  views.down.weight = view_at(flat, offset(role::down_proj), hidden, inner);
  views.input_norm = view_at(flat, offset(role::input_norm), hidden);
  views.post_norm = view_at(flat, offset(role::post_attention_norm), hidden);
  return views;
}

std::size_t kept_elements_per_row(const model_config& m) {
  const std::size_t queries = std::size_t{m.num_heads} * m.head_dim;
  const std::size_t keys = std::size_t{m.num_kv_heads} * m.head_dim;
  return std::size_t{m.hidden_size} + 3 * queries + 3 * keys + 2 * std::size_t{m.num_heads} +
         m.num_kv_heads + 2 * std::size_t{m.intermediate_size};
}

at::Tensor block_forward(const block_context& c, const block_tensors& w, const at::Tensor& x,
                         block_state& state) {
  const double eps = c.model.rms_norm_eps;
  state.qkv = project(w.qkv, rms_norm(x, w.input_norm, eps).y);
  state.rotated = norm_and_rotate(c.model, c.batch, c.rotary, state.qkv, w.q_norm, w.k_norm);
  state.attention = attention(c.model, c.batch, state.rotated.heads, state.qkv);
  state.middle = project_add(w.out, state.attention.out, x);
  state.gate_up = project(w.gate_up, rms_norm(state.middle, w.post_norm, eps).y);
  return project_add(w.down, swiglu(state.gate_up), state.middle);
}

void block_backward(const block_context& c, const block_tensors& w, block_state& state,
                    at::Tensor dy, const block_tensors& g, write_mode mode) {
  const double eps = c.model.rms_norm_eps;
  const at::Tensor inner_gradient =
      project_backward(w.down, swiglu(state.gate_up), dy, g.down, mode);
  swiglu_backward(inner_gradient, state.gate_up);
  const normed post = rms_norm(state.middle, w.post_norm, eps);
  at::Tensor normed_gradient = project_backward(w.gate_up, post.y, state.gate_up, g.gate_up, mode);
  rms_norm_backward(state.middle, w.post_norm, post.rstd, normed_gradient, dy, g.post_norm, mode);

  const at::Tensor out_gradient = project_backward(w.out, state.attention.out, dy, g.out, mode);
  const at::Tensor qkv_gradient = attention_backward(c.model, c.batch, state.rotated.heads,
                                                     state.qkv, state.attention, out_gradient);
  norm_and_rotate_backward(c.model, c.batch, c.rotary, state.qkv, state.rotated.rstd, w.q_norm,
                           w.k_norm, qkv_gradient, g.q_norm, g.k_norm, mode);
  const normed input = rms_norm(state.x, w.input_norm, eps);
  normed_gradient = project_backward(w.qkv, input.y, qkv_gradient, g.qkv, mode);
  rms_norm_backward(state.x, w.input_norm, input.rstd, normed_gradient, dy, g.input_norm, mode);
  state = block_state{};
}

}  // namespace troupe::gpu
