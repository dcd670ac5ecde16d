#include "gpu/torch/block.hpp"

#include "gpu/models/qwen3.hpp"
#include "gpu/torch/linear.hpp"

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
  using qwen3::place;
  const auto at = [&](place where) {
    return group.offset_of(qwen3::parameter_index(block, where));
  };
  const std::int64_t hidden = model.hidden_size;
  const std::int64_t dim = model.head_dim;
  const std::int64_t queries = model.num_heads * dim;
  const std::int64_t keys = model.num_kv_heads * dim;
  const std::int64_t inner = model.intermediate_size;
  return {
      .qkv = view_at(flat, at(place::q_proj), queries + 2 * keys, hidden),
      .out = view_at(flat, at(place::o_proj), hidden, queries),
      .q_norm = view_at(flat, at(place::q_norm), dim),
      .k_norm = view_at(flat, at(place::k_norm), dim),
      .gate_up = view_at(flat, at(place::gate_proj), 2 * inner, hidden),
      .down = view_at(flat, at(place::down_proj), hidden, inner),
      .input_norm = view_at(flat, at(place::input_norm), hidden),
      .post_norm = view_at(flat, at(place::post_attention_norm), hidden),
  };
}

std::size_t kept_elements_per_row(const model_config& m) {
  const std::size_t queries = std::size_t{m.num_heads} * m.head_dim;
  const std::size_t keys = std::size_t{m.num_kv_heads} * m.head_dim;
  return 3 * std::size_t{m.hidden_size} + 3 * queries + 3 * keys + 2 * std::size_t{m.num_heads} +
         m.num_kv_heads + 2 + 3 * std::size_t{m.intermediate_size};
}

at::Tensor block_forward(const block_context& c, const block_tensors& w, const at::Tensor& x,
                         block_state& state) {
  const double eps = c.model.rms_norm_eps;
  state.input = rms_norm(x, w.input_norm, eps);
  state.qkv = linear(state.input.y, w.qkv);
  state.rotated = norm_and_rotate(c.model, c.batch, c.rotary, state.qkv, w.q_norm, w.k_norm);
  state.attention = attention(c.model, c.batch, state.rotated.heads, state.qkv);
  state.middle = linear_add(state.attention.out, w.out, x);
  state.post = rms_norm(state.middle, w.post_norm, eps);
  state.gate_up = linear(state.post.y, w.gate_up);
  state.inner = swiglu(state.gate_up);
  return linear_add(state.inner, w.down, state.middle);
}

void block_backward(const block_context& c, const block_tensors& w, block_state& state,
                    at::Tensor dy, const block_tensors& g, write_mode mode) {
  linear_weight_gradient(dy, state.inner, g.down, mode);
  const at::Tensor inner_gradient = linear_input_gradient(dy, w.down);
  swiglu_backward(inner_gradient, state.gate_up);
  linear_weight_gradient(state.gate_up, state.post.y, g.gate_up, mode);
  at::Tensor normed_gradient = linear_input_gradient(state.gate_up, w.gate_up);
  rms_norm_backward(state.middle, w.post_norm, state.post.rstd, normed_gradient, dy, g.post_norm,
                    mode);

  linear_weight_gradient(dy, state.attention.out, g.out, mode);
  const at::Tensor out_gradient = linear_input_gradient(dy, w.out);
  const at::Tensor qkv_gradient = attention_backward(c.model, c.batch, state.rotated.heads,
                                                     state.qkv, state.attention, out_gradient);
  norm_and_rotate_backward(c.model, c.batch, c.rotary, state.qkv, state.rotated.rstd, w.q_norm,
                           w.k_norm, qkv_gradient, g.q_norm, g.k_norm, mode);
  linear_weight_gradient(qkv_gradient, state.input.y, g.qkv, mode);
  normed_gradient = linear_input_gradient(qkv_gradient, w.qkv);
  rms_norm_backward(state.x, w.input_norm, state.input.rstd, normed_gradient, dy, g.input_norm,
                    mode);
  state = block_state{};
}

}  // namespace troupe::gpu
