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

sharded_state::sharded_state(sharding_plan plan, const rank_groups& ranks, training kind)
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
  if (is_alone() && shard.has_gradients) return {shard.gradients, write_mode::add};
  const auto elements = static_cast<std::int64_t>(padded_elements(plan_, plan_.groups[group]));
  at::Tensor whole;
  if (is_alone()) {
    whole = shard.gradients = make_tensor({plan_.groups[group].shard_elements});
  } else {
    whole = group == 0 ? root_gradients_ : block_gradients_.narrow(0, 0, elements);
  }
  // What is padding here may have been an element of another group.
  const auto used = static_cast<std::int64_t>(plan_.groups[group].num_elements);
  whole.narrow(0, used, elements - used).zero_();
  return {whole, write_mode::overwrite};
}

result<void> sharded_state::reduce(std::uint32_t group) {
  state_shard& shard = shards_[group];
  const auto shard_elements = plan_.groups[group].shard_elements;
  if (!is_alone() && !shard.has_gradients) shard.gradients = make_tensor({shard_elements});
  if (!is_alone() && shard_elements > 0) {
    const auto elements = static_cast<std::int64_t>(padded_elements(plan_, plan_.groups[group]));
    at::Tensor whole = group == 0 ? root_gradients_ : block_gradients_.narrow(0, 0, elements);
    at::Tensor mine = shard.gradients;
    if (shard.has_gradients)
      mine = reduced_.narrow(0, 0, static_cast<std::int64_t>(shard_elements));
    const timed_part timed(&pass_seconds::exchanges);
    if (auto ok = ranks_.ahead().finish(); !ok) return ok;
    if (auto ok = ranks_.group().reduce_scatter(span_of(whole), span_of(mine)); !ok) return ok;
    if (shard.has_gradients) add_to(shard.gradients, mine);
  }
  shard.has_gradients = true;
  return {};
}

result<void> sharded_state::finish_gradients() {
  for (state_shard& shard : shards_)
    if (!shard.has_gradients) shard.gradients = make_zeros(shard.weights.sizes());
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
}

}  // namespace troupe::gpu
