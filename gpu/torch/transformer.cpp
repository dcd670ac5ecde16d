#include "gpu/torch/transformer.hpp"

#include <algorithm>
#include <utility>

namespace troupe::gpu {
namespace {

std::size_t bytes_of(std::initializer_list<const at::Tensor*> tensors) {
  std::size_t bytes = 0;
  for (const at::Tensor* tensor : tensors)
    if (tensor->defined()) bytes += tensor->nbytes();
  return bytes;
}

row_targets targets_of(const packed_batch& batch) {
  return {batch.targets, batch.first_target};
}

/// Bytes per row of the inputs of all blocks, the last output and its norm.
std::size_t input_bytes_per_row(const model_config& model) {
  return (std::size_t{model.num_layers} + 2) * model.hidden_size * sizeof(float);
}

std::size_t state_bytes_per_row(const model_config& model) {
  return kept_elements_per_row(model) * sizeof(float);
}

/// Blocks whose states fit beside the inputs of all.
std::uint32_t blocks_kept_whole(const model_config& model, std::size_t rows,
                                std::size_t bytes_max) {
  const std::size_t inputs = rows * input_bytes_per_row(model);
  if (rows == 0 || bytes_max < inputs) return rows == 0 ? model.num_layers : 0;
  const std::size_t fit = (bytes_max - inputs) / (rows * state_bytes_per_row(model));
  return static_cast<std::uint32_t>(std::min<std::size_t>(fit, model.num_layers));
}

}  // namespace

kept_form form_of(const kept_pass& pass) {
  if (!pass.last.defined() || pass.blocks.empty()) return kept_form::tokens;
  return pass.blocks.back().is_complete() ? kept_form::whole : kept_form::inputs;
}

bool give_up_block(kept_pass& pass) {
  const auto first = std::ranges::find_if(pass.blocks, &block_state::is_complete);
  if (first == pass.blocks.end()) return false;
  pass.head.logits.reset();
  block_state bare;
  bare.x = first->x;
  *first = std::move(bare);
  return true;
}

void reduce_to_tokens(kept_pass& pass) {
  pass.head.logits.reset();
  pass.blocks.clear();
  pass.last.reset();
  pass.final_norm = normed{};
}

std::size_t held_by(const kept_pass& pass) {
  std::size_t bytes =
      bytes_of({&pass.last, &pass.final_norm.y, &pass.final_norm.rstd, &pass.head.logits});
  for (const block_state& s : pass.blocks)
    bytes += bytes_of({&s.x, &s.qkv, &s.attention.out, &s.attention.lse, &s.middle, &s.gate_up,
                       &s.experts.gate_up, &s.experts.choice.probabilities});
  return bytes;
}

transformer::transformer(const model_config& model, std::optional<adapter_setup> adapters,
                         rank_groups ranks, const engine_resources& resources)
    : model_(model),
      resources_(resources),
      weights_(model, std::move(adapters), std::move(ranks), resources.whole_gradient_bytes),
      rotary_(model) {}

pass_bytes transformer::kept_bytes(std::size_t rows) const {
  const std::size_t inputs = rows * input_bytes_per_row(model_);
  const std::size_t logits = rows * model_.vocab_size * sizeof(float);
  const std::size_t states = rows * state_bytes_per_row(model_) *
                             blocks_kept_whole(model_, rows, resources_.kept_activation_bytes);
  return {inputs + states + (logits <= resources_.kept_logit_bytes ? logits : 0), inputs};
}

result<void> transformer::check_room(std::size_t rows) const {
  // One block's state and about as much again while its gradients are computed.
  const std::size_t per_row = input_bytes_per_row(model_) + 2 * state_bytes_per_row(model_);
  const std::size_t most = resources_.batch_activation_bytes / per_row;
  if (rows <= most) return {};
  return fail(errc::invalid_argument,
              "a part of " + std::to_string(rows) + " tokens needs at least " +
                  std::to_string(rows * per_row) + " bytes of activations, this rank has " +
                  std::to_string(resources_.batch_activation_bytes),
              "the batch is too large for the ranks of this run",
              "send at most " + std::to_string(most) +
                  " tokens per rank at a time; gradients "
                  "add up");
}

result<kept_pass> transformer::forward(packed_batch batch, retention keep,
                                       const row_details& wanted) {
  for (std::size_t s = 0; s < batch.num_sequences(); ++s)
    rotary_.grow_to(batch.length(s));
  kept_pass pass;
  pass.batch = std::move(batch);
  auto root = weights_.gather_root();
  if (!root) return fail(std::move(root.error()));
  auto last = run_blocks(pass, embed(pass.batch.tokens, root->embedding), keep);
  if (!last) return fail(std::move(last.error()));
  pass.last = std::move(*last);
  pass.final_norm = rms_norm(pass.last, root->final_norm, model_.rms_norm_eps);
  pass.head =
      head_forward(pass.final_norm.y, root->head, targets_of(pass.batch),
                   keep == retention::keep_for_backward ? resources_.kept_logit_bytes : 0, wanted);
  return pass;
}

void transformer::prefetch(std::uint32_t block) {
  if (resources_.gathers == gathering::ahead) weights_.prefetch_block(block);
}

result<at::Tensor> transformer::run_blocks(kept_pass& pass, at::Tensor x, retention keep) {
  const block_context context{model_, pass.batch, rotary_};
  const std::uint32_t first_whole =
      model_.num_layers -
      blocks_kept_whole(model_, pass.batch.num_tokens(), resources_.kept_activation_bytes);
  for (std::uint32_t block = 0; block < model_.num_layers; ++block) {
    auto weights = weights_.gather_block(block);
    if (!weights) return fail(std::move(weights.error()));
    if (block + 1 < model_.num_layers) prefetch(block + 1);
    block_state state;
    at::Tensor y = block_forward(context, *weights, x, state);
    if (model_.experts.count != 0) pass.routers.add(state.experts.choice);
    if (block < first_whole) state = block_state{};
    state.x = std::move(x);
    if (keep == retention::keep_for_backward) pass.blocks.push_back(std::move(state));
    x = std::move(y);
  }
  return x;
}

result<void> transformer::backward(kept_pass& pass, std::span<const float> logprob_gradient) {
  auto root = weights_.gather_root();
  if (!root) return fail(std::move(root.error()));
  const auto [gradients, mode] = weights_.root_gradients();

  const at::Tensor hidden_gradient =
      head_backward(pass.final_norm.y, root->head, targets_of(pass.batch), pass.head,
                    logprob_gradient, gradients.head, mode);
  at::Tensor dx = make_zeros(pass.last.sizes());
  rms_norm_backward(pass.last, root->final_norm, pass.final_norm.rstd, hidden_gradient, dx,
                    gradients.final_norm, mode);
  pass.last.reset();
  pass.final_norm = normed{};
  if (auto ok = blocks_backward(pass, dx); !ok) return ok;

  if (gradients.embedding.defined()) {
    at::Tensor embedding_gradient = gradients.embedding;
    if (!model_.tied_head && mode == write_mode::overwrite) embedding_gradient.zero_();
    embed_backward(pass.batch.tokens, dx, embedding_gradient);
  }
  return weights_.reduce(0);
}

result<void> transformer::blocks_backward(kept_pass& pass, at::Tensor dx) {
  const block_context context{model_, pass.batch, rotary_};
  for (std::uint32_t block = model_.num_layers; block-- > 0;) {
    auto weights = weights_.gather_block(block);
    if (!weights) return fail(std::move(weights.error()));
    if (block > 0) prefetch(block - 1);
    block_state& state = pass.blocks[block];
    if (!state.is_complete()) {
      [[maybe_unused]] const at::Tensor y = block_forward(context, *weights, state.x, state);
    }
    const auto [gradients, mode] = weights_.block_gradients(block);
    block_backward(context, *weights, state, dx, gradients, mode);
    if (auto ok = weights_.reduce(1 + block); !ok) return ok;
  }
  return {};
}

}  // namespace troupe::gpu
