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

/// Experts stand one behind the other, each as gate, up and down.
expert_layer view_experts(const model_config& model, const parameter_group& group,
                          std::uint32_t block, const at::Tensor& flat) {
  const std::int64_t hidden = model.hidden_size;
  const std::int64_t width = model.experts.width;
  expert_layer layer;
  const auto router = parameter_index(model, block, role::router).value_or(0);
  layer.router = view_at(flat, group.offset_of(router), model.experts.count, hidden);
  const auto first = parameter_index(model, expert_place{block, 0}, role::gate_proj).value_or(0);
  auto offset = group.offset_of(first);
  for (std::uint32_t e = 0; e < model.experts.count; ++e) {
    expert_tensors& expert = layer.experts.emplace_back();
    const auto matrix = static_cast<std::uint64_t>(width * hidden);
    expert.gate_up.weight = view_at(flat, offset, 2 * width, hidden);
    expert.down.weight = view_at(flat, offset + 2 * matrix, hidden, width);
    offset += 3 * matrix;
  }
  return layer;
}

/// The inner layer of the block: residual + its output for normalised rows.
at::Tensor inner_forward(const block_context& c, const block_tensors& w, const at::Tensor& x,
                         block_state& state) {
  if (c.model.experts.count != 0)
    return experts_forward(c.model.experts, w.experts, x, state.middle, state.experts);
  state.gate_up = project(w.gate_up, x);
  return project_add(w.down, swiglu(state.gate_up), state.middle);
}

at::Tensor inner_backward(const block_context& c, const block_tensors& w, const at::Tensor& x,
                          block_state& state, const at::Tensor& dy, const block_tensors& g,
                          write_mode mode) {
  if (c.model.experts.count != 0)
    return experts_backward(c.model.experts, w.experts, x, dy, state.experts, g.experts, mode);
  const input_gradient inner = project_input_gradient(w.down, dy);
  swiglu_backward(inner.dx, state.gate_up);
  const at::Tensor& made_again = inner.dx;
  project_parameter_gradients(w.down, made_again, dy, inner.reduced, g.down, mode);
  return project_backward(w.gate_up, x, state.gate_up, g.gate_up, mode);
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
  if (model.experts.count != 0) {
    views.experts = view_experts(model, group, block, flat);
  } else {
    views.gate_up.weight = view_at(flat, offset(role::gate_proj), 2 * inner, hidden);
    views.down.weight = view_at(flat, offset(role::down_proj), hidden, inner);
  }
  views.input_norm = view_at(flat, offset(role::input_norm), hidden);
  views.post_norm = view_at(flat, offset(role::post_attention_norm), hidden);
  return views;
}

std::size_t kept_elements_per_row(const model_config& m) {
  const std::size_t queries = std::size_t{m.num_heads} * m.head_dim;
  const std::size_t keys = std::size_t{m.num_kv_heads} * m.head_dim;
  const expert_config& e = m.experts;
  const std::size_t inner = e.count == 0 ? 2 * std::size_t{m.intermediate_size}
                                         : e.count + e.per_token * (2 * std::size_t{e.width} + 3);
  return std::size_t{m.hidden_size} + 2 * queries + 2 * keys + m.num_heads + inner;
}

at::Tensor block_forward(const block_context& c, const block_tensors& w, const at::Tensor& x,
                         block_state& state) {
  const double eps = c.model.rms_norm_eps;
  state.qkv = project(w.qkv, rms_norm(x, w.input_norm, eps).y);
  const rotated_heads rotated =
      norm_and_rotate(c.model, c.batch, c.rotary, state.qkv, w.q_norm, w.k_norm);
  state.attention = attention(c.model, c.batch, rotated.heads, state.qkv);
  state.middle = project_add(w.out, state.attention.out, x);
  return inner_forward(c, w, rms_norm(state.middle, w.post_norm, eps).y, state);
}

void block_backward(const block_context& c, const block_tensors& w, block_state& state,
                    at::Tensor dy, const block_tensors& g, write_mode mode) {
  const double eps = c.model.rms_norm_eps;
  const normed post = rms_norm(state.middle, w.post_norm, eps);
  at::Tensor normed_gradient = inner_backward(c, w, post.y, state, dy, g, mode);
  rms_norm_backward(state.middle, w.post_norm, post.rstd, normed_gradient, dy, g.post_norm, mode);

  const at::Tensor out_gradient = project_backward(w.out, state.attention.out, dy, g.out, mode);
  const rotated_heads rotated =
      norm_and_rotate(c.model, c.batch, c.rotary, state.qkv, w.q_norm, w.k_norm);
  const at::Tensor qkv_gradient =
      attention_backward(c.model, c.batch, rotated.heads, state.qkv, state.attention, out_gradient);
  norm_and_rotate_backward(c.model, c.batch, c.rotary, state.qkv, rotated.rstd, w.q_norm, w.k_norm,
                           qkv_gradient, g.q_norm, g.k_norm, mode);
  const normed input = rms_norm(state.x, w.input_norm, eps);
  normed_gradient = project_backward(w.qkv, input.y, qkv_gradient, g.qkv, mode);
  rms_norm_backward(state.x, w.input_norm, input.rstd, normed_gradient, dy, g.input_norm, mode);
  state = block_state{};
}

}  // namespace troupe::gpu
