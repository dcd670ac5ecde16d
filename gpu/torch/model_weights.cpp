#include "gpu/torch/model_weights.hpp"

#include <algorithm>
#include <utility>

#include "gpu/bf16.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/library/transfers.hpp"
#include "gpu/torch/linear.hpp"
#include "messages/state_digest.hpp"

namespace troupe::gpu {
namespace {

/// Rows of a matrix that are merged at a time.
constexpr std::size_t merged_rows_max = 256;

/// The product a block's matrix is part of, and its first output there.
std::pair<projection*, std::size_t> home_of(const model_config& m, const adapter& each,
                                            block_tensors& block) {
  if (each.expert) {
    expert_tensors& expert = block.experts.experts[*each.expert];
    if (each.what == role::down_proj) return {&expert.down, 0};
    return {&expert.gate_up, each.what == role::up_proj ? m.experts.width : 0};
  }
  const std::size_t queries = std::size_t{m.num_heads} * m.head_dim;
  const std::size_t keys = std::size_t{m.num_kv_heads} * m.head_dim;
  switch (each.what) {
    case role::k_proj:
      return {&block.qkv, queries};
    case role::v_proj:
      return {&block.qkv, queries + keys};
    case role::o_proj:
      return {&block.out, 0};
    case role::gate_proj:
      return {&block.gate_up, 0};
    case role::up_proj:
      return {&block.gate_up, m.intermediate_size};
    case role::down_proj:
      return {&block.down, 0};
    default:
      return {&block.qkv, 0};
  }
}

rank_layout layout_of(const rank_groups& ranks) {
  return {ranks.shard_size(), ranks.num_groups()};
}

at::Tensor matrix_at(const at::Tensor& flat, std::uint64_t offset, std::uint64_t rows,
                     std::uint64_t columns) {
  const auto r = static_cast<std::int64_t>(rows);
  const auto c = static_cast<std::int64_t>(columns);
  return flat.narrow(0, static_cast<std::int64_t>(offset), r * c).view({r, c});
}

}  // namespace

model_weights::model_weights(const model_config& model, std::optional<adapter_setup> adapters,
                             rank_groups ranks, std::size_t whole_gradient_bytes)
    : model_(model),
      ranks_(std::move(ranks)),
      weights_(make_sharding_plan(model, layout_of(ranks_)), ranks_,
               adapters ? training::frozen : training::trained, whole_gradient_bytes) {
  if (!adapters) return;
  base_ = adapters->base ? std::move(adapters->base) : std::make_shared<frozen_base>();
  const lora_config& lora = adapters->lora;
  adapter_scale_ = static_cast<float>(lora.alpha / lora.rank);
  rank_ = lora.rank;
  list_ = adapters_of(model, lora);
  adapters_.emplace(make_adapter_plan(model, lora, layout_of(ranks_)), ranks_, training::trained,
                    whole_gradient_bytes);
}

result<void> model_weights::load_frozen(const slice_reader& read) {
  const std::lock_guard lock(base_->loading);
  if (!base_->is_loaded) {
    base_->shards.clear();
    for (const parameter_group& group : weights_.plan().groups)
      base_->shards.push_back(make_zeros({static_cast<std::int64_t>(group.shard_elements)}));
    for (const owned_slice& owned : weights_.held())
      if (auto ok = library::fill_elements(
              base_->shards[owned.group], owned.shard_offset, owned.slice.num_elements(),
              [&](std::span<float> out) { return read(owned.slice, out); });
          !ok)
        return ok;
    base_->is_loaded = true;
  }
  weights_.adopt(base_->shards);
  return {};
}

root_tensors model_weights::view_root(const at::Tensor& flat) const {
  const parameter_group& group = weights_.plan().groups[0];
  const auto matrix = [&](std::uint32_t parameter) {
    return matrix_at(flat, group.offset_of(parameter), model_.vocab_size, model_.hidden_size);
  };
  const auto norm_at = static_cast<std::int64_t>(group.offset_of(final_norm_index(model_)));
  root_tensors root;
  root.embedding = matrix(embedding_index);
  root.final_norm = flat.narrow(0, norm_at, model_.hidden_size);
  root.head.weight = matrix(head_index(model_));
  return root;
}

low_rank model_weights::view(const adapter& each, const at::Tensor& flat) const {
  const parameter_group& group = adapters_->plan().groups[each.block ? 1 + *each.block : 0];
  return {matrix_at(flat, group.offset_of(each.a), rank_, each.inputs),
          matrix_at(flat, group.offset_of(each.b), each.outputs, rank_), 0};
}

void model_weights::add_adapters(std::uint32_t block, const at::Tensor& flat,
                                 block_tensors& views) const {
  views.experts.experts.resize(model_.experts.count);
  for (const adapter& each : list_) {
    if (each.block != block) continue;
    const auto [layer, first_output] = home_of(model_, each, views);
    layer->adapter_scale = adapter_scale_;
    layer->adapters.push_back(view(each, flat));
    layer->adapters.back().first_output = first_output;
  }
}

void model_weights::add_head_adapter(const at::Tensor& flat, projection& head) const {
  for (const adapter& each : list_) {
    if (each.block) continue;
    head.adapter_scale = adapter_scale_;
    head.adapters.push_back(view(each, flat));
  }
}

result<root_tensors> model_weights::gather_root() {
  auto flat = weights_.gather(0);
  if (!flat) return fail(std::move(flat.error()));
  root_tensors root = view_root(*flat);
  if (!adapters_) return root;
  auto adapters = adapters_->gather(0);
  if (!adapters) return fail(std::move(adapters.error()));
  add_head_adapter(*adapters, root.head);
  return root;
}

result<block_tensors> model_weights::gather_block(std::uint32_t block) {
  auto flat = weights_.gather(1 + block);
  if (!flat) return fail(std::move(flat.error()));
  block_tensors views = view_block(model_, weights_.plan().groups[1 + block], block, *flat);
  if (!adapters_) return views;
  auto adapters = adapters_->gather(1 + block);
  if (!adapters) return fail(std::move(adapters.error()));
  add_adapters(block, *adapters, views);
  return views;
}

void model_weights::prefetch_block(std::uint32_t block) {
  weights_.prefetch(1 + block);
  if (adapters_) adapters_->prefetch(1 + block);
}

gradient_views<root_tensors> model_weights::root_gradients() {
  const gradient_target target = trained().gradient_buffer(0);
  if (!adapters_) return {view_root(target.flat), target.mode};
  gradient_views<root_tensors> gradients{{}, target.mode};
  add_head_adapter(target.flat, gradients.views.head);
  return gradients;
}

gradient_views<block_tensors> model_weights::block_gradients(std::uint32_t block) {
  const gradient_target target = trained().gradient_buffer(1 + block);
  if (!adapters_)
    return {view_block(model_, weights_.plan().groups[1 + block], block, target.flat), target.mode};
  gradient_views<block_tensors> gradients{{}, target.mode};
  add_adapters(block, target.flat, gradients.views);
  return gradients;
}

void model_weights::merge(const parameter_slice& slice, const at::Tensor& flat,
                          std::span<float> values_of_slice) const {
  const auto found = std::ranges::find(list_, slice.parameter, &adapter::matrix);
  if (found == list_.end()) return;
  const low_rank views = view(*found, flat);
  const std::size_t inputs = found->inputs;
  std::vector<float> change(merged_rows_max * inputs);
  const std::size_t last_row = (slice.end + inputs - 1) / inputs;
  for (std::size_t row = slice.begin / inputs; row < last_row; row += merged_rows_max) {
    const std::size_t rows = std::min(merged_rows_max, last_row - row);
    multiply({rows, inputs, rank_, values(views.b) + row * rank_, rank_, 1, values(views.a), inputs,
              1, nullptr, change.data(), inputs});
    const std::size_t begin = std::max<std::size_t>(slice.begin, row * inputs);
    const std::size_t end = std::min<std::size_t>(slice.end, (row + rows) * inputs);
    for (std::size_t element = begin; element < end; ++element)
      values_of_slice[element - slice.begin] += adapter_scale_ * change[element - row * inputs];
  }
}

state_digest model_weights::frozen_digest() const {
  const std::lock_guard lock(base_->loading);
  if (base_->bf16_digest) return *base_->bf16_digest;
  state_digest digest;
  std::vector<std::uint16_t> bits;
  for (const owned_slice& owned : weights_.owned()) {
    const at::Tensor flat =
        library::on_host(owned_part(weights_.shards()[owned.group].weights, owned));
    const std::span<const float> slice(values(flat), count(flat));
    bits.resize(slice.size());
    std::ranges::transform(slice, bits.begin(), to_bf16);
    add_elements(digest, owned.slice.parameter, owned.slice.begin,
                 std::span<const std::uint16_t>(bits));
  }
  base_->bf16_digest = digest;
  return digest;
}

result<void> model_weights::visit_merged(const slice_visitor& visit) {
  std::vector<float> merged;
  for (std::uint32_t group = 0; group < weights_.plan().groups.size(); ++group) {
    at::Tensor adapters;
    if (adapters_) {
      auto flat = adapters_->gather(group);
      if (!flat) return fail(std::move(flat.error()));
      adapters = library::on_host(*flat);
    }
    for (const owned_slice& owned : weights_.owned()) {
      if (owned.group != group) continue;
      merged.resize(owned.slice.num_elements());
      library::copy_to_host(owned_part(weights_.shards()[group].weights, owned), merged);
      if (adapters_) merge(owned.slice, adapters, merged);
      if (auto ok = visit(owned.slice, merged); !ok) return ok;
    }
  }
  return {};
}

}  // namespace troupe::gpu
