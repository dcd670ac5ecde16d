#include "gpu/torch/sharded_state.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/pass_clock.hpp"

namespace troupe::gpu {
namespace {

at::Tensor zeros(std::uint64_t elements) {
  return make_zeros({static_cast<std::int64_t>(elements)});
}

std::span<float> span_of(at::Tensor& tensor) {
  return {values(tensor), count(tensor)};
}

void add_to(at::Tensor& sum, const at::Tensor& part) {
  if (uses_library()) {
    sum.add_(part);
    return;
  }
  float* const to = values(sum);
  const float* const from = values(part);
  for_ranges(count(sum), 32 * 1024, [&](std::size_t begin, std::size_t end) {
    kernels::for_this_cpu().add(end - begin, from + begin, to + begin);
  });
}

std::uint64_t padded_elements(const sharding_plan& plan, const parameter_group& group) {
  return group.shard_elements * plan.ranks.num_shards;
}

}  // namespace

sharded_state::sharded_state(sharding_plan plan, const rank_groups& ranks, training kind,
                             std::size_t whole_gradient_bytes)
    : ranks_(ranks),
      plan_(std::move(plan)),
      held_(held_slices(plan_, ranks_.all().rank())),
      owned_(owned_slices(plan_, ranks_.all().rank())) {
  std::uint64_t largest_block = 0;
  std::uint64_t largest_shard = 0;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const parameter_group& group = plan_.groups[g];
    const std::uint64_t elements = group.shard_elements;
    if (kind == training::frozen) {
      shards_.emplace_back();
    } else {
      shards_.push_back({zeros(elements), zeros(elements), zeros(elements), {}});
    }
    largest_shard = std::max(largest_shard, elements);
    if (g > 0) largest_block = std::max(largest_block, padded_elements(plan_, group));
  }
  if (is_alone()) return;
  root_weights_ = zeros(padded_elements(plan_, plan_.groups[0]));
  for (block_buffer& buffer : buffers_)
    buffer.weights = zeros(largest_block);
  if (kind == training::frozen) return;
  whole_gradients_.resize(plan_.groups.size());
  keeps_whole_ = padded_elements(plan_) * sizeof(float) <= whole_gradient_bytes;
  if (keeps_whole_) return;
  root_gradients_ = zeros(padded_elements(plan_, plan_.groups[0]));
  block_gradients_ = zeros(largest_block);
  reduced_ = zeros(largest_shard);
}

void sharded_state::adopt(const std::vector<at::Tensor>& weights) {
  for (std::size_t g = 0; g < shards_.size(); ++g)
    shards_[g].weights = weights[g];
  weights_changed();
}

result<at::Tensor> sharded_state::gather(std::uint32_t group) {
  if (is_alone() || plan_.groups[group].num_elements == 0) return shards_[group].weights;
  if (group == 0 && root_is_gathered_) return root_weights_;
  const timed_part timed(&pass_seconds::exchanges);
  if (auto ok = ranks_.ahead().finish(); !ok) return fail(std::move(ok.error()));
  if (group == 0) {
    if (auto ok = ranks_.group().all_gather(span_of(shards_[0].weights), span_of(root_weights_));
        !ok)
      return fail(std::move(ok.error()));
    root_is_gathered_ = true;
    return root_weights_;
  }
  if (buffers_[current_].group == group) return whole_of(buffers_[current_]);
  prefetch(group);
  if (auto ok = ranks_.ahead().finish(); !ok) return fail(std::move(ok.error()));
  current_ = 1 - current_;
  return whole_of(buffers_[current_]);
}

void sharded_state::prefetch(std::uint32_t group) {
  if (is_alone() || plan_.groups[group].num_elements == 0) return;
  block_buffer& next = buffers_[1 - current_];
  if (next.group == group || buffers_[current_].group == group) return;
  next.group = group;
  at::Tensor whole = whole_of(next);
  ranks_.ahead().start(span_of(shards_[group].weights), span_of(whole));
}

at::Tensor sharded_state::whole_of(const block_buffer& buffer) const {
  const auto elements = padded_elements(plan_, plan_.groups[buffer.group]);
  return buffer.weights.narrow(0, 0, static_cast<std::int64_t>(elements));
}

void sharded_state::weights_changed() {
  root_is_gathered_ = false;
  for (block_buffer& buffer : buffers_)
    buffer.group = 0;
}

gradient_target sharded_state::gradient_buffer(std::uint32_t group) {
  state_shard& shard = shards_[group];
  const bool stays = is_alone() || keeps_whole_;
  at::Tensor& kept = keeps_whole_ ? whole_gradients_[group] : shard.gradients;
  if (stays && shard.has_gradients) return {kept, write_mode::add};
  const auto elements = static_cast<std::int64_t>(padded_elements(plan_, plan_.groups[group]));
  if (stays) kept = make_tensor({static_cast<std::size_t>(elements)});
  at::Tensor whole = stays ? kept : passing_gradient(group);
  // What is padding here may have been an element of another group.
  const auto used = static_cast<std::int64_t>(plan_.groups[group].num_elements);
  whole.narrow(0, used, elements - used).zero_();
  return {whole, write_mode::overwrite};
}

at::Tensor sharded_state::passing_gradient(std::uint32_t group) const {
  const auto elements = static_cast<std::int64_t>(padded_elements(plan_, plan_.groups[group]));
  return group == 0 ? root_gradients_ : block_gradients_.narrow(0, 0, elements);
}

result<void> sharded_state::reduce(std::uint32_t group) {
  if (!is_alone() && !keeps_whole_)
    if (auto ok = scatter(group, passing_gradient(group)); !ok) return ok;
  shards_[group].has_gradients = true;
  return {};
}

result<void> sharded_state::scatter(std::uint32_t group, at::Tensor whole) {
  state_shard& shard = shards_[group];
  const auto elements = plan_.groups[group].shard_elements;
  const bool adds = shard.gradients.defined();
  if (!adds) shard.gradients = make_tensor({elements});
  if (elements == 0) return {};
  at::Tensor mine = shard.gradients;
  if (adds) mine = reduced_.narrow(0, 0, static_cast<std::int64_t>(elements));
  const timed_part timed(&pass_seconds::exchanges);
  if (auto ok = ranks_.ahead().finish(); !ok) return ok;
  if (auto ok = ranks_.group().reduce_scatter(span_of(whole), span_of(mine)); !ok) return ok;
  if (adds) add_to(shard.gradients, mine);
  return {};
}

result<void> sharded_state::finish_gradients() {
  for (std::uint32_t group = 0; group < shards_.size(); ++group) {
    state_shard& shard = shards_[group];
    if (!shard.has_gradients) {
      shard.gradients = make_zeros(shard.weights.sizes());
    } else if (keeps_whole_) {
      if (auto ok = scatter(group, std::exchange(whole_gradients_[group], {})); !ok) return ok;
    }
  }
  if (ranks_.num_groups() == 1) return {};
  comm& across = ranks_.across();
  for (state_shard& shard : shards_) {
    if (count(shard.weights) == 0) continue;
    at::Tensor sums = make_tensor({count(shard.gradients) / across.world_size()});
    if (auto ok = across.reduce_scatter(span_of(shard.gradients), span_of(sums)); !ok) return ok;
    if (auto ok = across.all_gather(span_of(sums), span_of(shard.gradients)); !ok) return ok;
  }
  return {};
}

void sharded_state::clear_gradients() {
  for (state_shard& shard : shards_) {
    shard.has_gradients = false;
    shard.gradients.reset();
  }
  for (at::Tensor& whole : whole_gradients_)
    whole.reset();
}

}  // namespace troupe::gpu
