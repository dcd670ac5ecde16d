#include "gpu/torch/transformer.hpp"

#include <algorithm>
#include <utility>

#include "gpu/models/parameter_layout.hpp"

namespace troupe::gpu {
namespace {

bool keeps_blocks_whole(const model_config& model, std::size_t rows, std::size_t bytes_max) {
  const std::size_t per_row = kept_elements_per_row(model) * model.num_layers * sizeof(float);
  return rows <= bytes_max / per_row;
}

}  // namespace

transformer::transformer(const model_config& model, std::unique_ptr<comm> ranks,
                         const engine_resources& resources)
    : model_(model), resources_(resources), state_(model, std::move(ranks)), rotary_(model) {}

transformer::root_tensors transformer::view_root(const at::Tensor& flat) const {
  const parameter_group& group = state_.plan().groups[0];
  const std::int64_t vocabulary = model_.vocab_size;
  const std::int64_t hidden = model_.hidden_size;
  const auto matrix = [&](std::uint32_t parameter) {
    return flat
        .narrow(0, static_cast<std::int64_t>(group.offset_of(parameter)), vocabulary * hidden)
        .view({vocabulary, hidden});
  };
  const auto norm_at = static_cast<std::int64_t>(group.offset_of(final_norm_index(model_)));
  return {matrix(embedding_index),
          flat.narrow(0, norm_at, hidden),
          {.weight = matrix(head_index(model_)), .bias = {}, .adapters = {}}};
}

result<kept_pass> transformer::forward(packed_batch batch, retention keep) {
  for (std::size_t s = 0; s < batch.num_sequences(); ++s)
    rotary_.grow_to(batch.length(s));
  kept_pass pass;
  pass.batch = std::move(batch);
  auto root = state_.gather(0);
  if (!root) return fail(std::move(root.error()));
  const root_tensors weights = view_root(*root);
  auto last = run_blocks(pass, embed(pass.batch.tokens, weights.embedding), keep);
  if (!last) return fail(std::move(last.error()));
  pass.last = std::move(*last);
  pass.final_norm = rms_norm(pass.last, weights.final_norm, model_.rms_norm_eps);
  pass.head = head_forward(pass.final_norm.y, weights.head, pass.batch.targets,
                           keep == retention::keep_for_backward ? resources_.kept_logit_bytes : 0);
  return pass;
}

result<at::Tensor> transformer::run_blocks(kept_pass& pass, at::Tensor x, retention keep) {
  const block_context context{model_, pass.batch, rotary_};
  const bool keeps_whole =
      keeps_blocks_whole(model_, pass.batch.num_tokens(), resources_.kept_activation_bytes);
  for (std::uint32_t block = 0; block < model_.num_layers; ++block) {
    auto flat = state_.gather(1 + block);
    if (!flat) return fail(std::move(flat.error()));
    const auto weights = view_block(model_, state_.plan().groups[1 + block], block, *flat);
    block_state state;
    at::Tensor y = block_forward(context, weights, x, state);
    if (!keeps_whole) state = block_state{};
    state.x = std::move(x);
    if (keep == retention::keep_for_backward) pass.blocks.push_back(std::move(state));
    x = std::move(y);
  }
  return x;
}

result<void> transformer::backward(kept_pass& pass, std::span<const float> logprob_gradient) {
  auto root = state_.gather(0);
  if (!root) return fail(std::move(root.error()));
  const root_tensors weights = view_root(*root);
  const gradient_target target = state_.gradient_buffer(0);
  const root_tensors gradients = view_root(target.flat);

  const at::Tensor hidden_gradient =
      head_backward(pass.final_norm.y, weights.head, pass.batch.targets, pass.head,
                    logprob_gradient, gradients.head, target.mode);
  at::Tensor dx = at::zeros(pass.last.sizes(), at::kFloat);
  rms_norm_backward(pass.last, weights.final_norm, pass.final_norm.rstd, hidden_gradient, dx,
                    gradients.final_norm, target.mode);
  pass.last.reset();
  pass.final_norm = normed{};
  if (auto ok = blocks_backward(pass, dx); !ok) return ok;

  at::Tensor embedding_gradient = gradients.embedding;
  if (!model_.tied_head && target.mode == write_mode::overwrite) embedding_gradient.zero_();
  embed_backward(pass.batch.tokens, dx, embedding_gradient);
  return state_.reduce(0);
}

result<void> transformer::blocks_backward(kept_pass& pass, at::Tensor dx) {
  const block_context context{model_, pass.batch, rotary_};
  for (std::uint32_t block = model_.num_layers; block-- > 0;) {
    const std::uint32_t group = 1 + block;
    auto flat = state_.gather(group);
    if (!flat) return fail(std::move(flat.error()));
    const auto weights = view_block(model_, state_.plan().groups[group], block, *flat);
    block_state& state = pass.blocks[block];
    if (!state.is_complete()) {
      [[maybe_unused]] const at::Tensor y = block_forward(context, weights, state.x, state);
    }
    const gradient_target target = state_.gradient_buffer(group);
    const auto gradients = view_block(model_, state_.plan().groups[group], block, target.flat);
    block_backward(context, weights, state, dx, gradients, target.mode);
    if (auto ok = state_.reduce(group); !ok) return ok;
  }
  return {};
}

}  // namespace troupe::gpu
