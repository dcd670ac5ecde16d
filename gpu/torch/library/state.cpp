#include "gpu/torch/library/state.hpp"

#include <algorithm>
#include <stdexcept>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/zeros.h>

#include "gpu/torch/library/own_kernels.hpp"
#include "gpu/torch/library/transfers.hpp"
#include "messages/state_digest.hpp"

namespace troupe::gpu::library {
namespace {

/// Elements whose temporaries exist at one time.
constexpr std::int64_t piece = 16 * 1024 * 1024;

template <class Body>
void for_pieces(std::int64_t count, const Body& body) {
  for (std::int64_t begin = 0; begin < count; begin += piece)
    body(begin, std::min(piece, count - begin));
}

void add_on_host(state_digest& total, const owned_slice& owned, const at::Tensor& weights) {
  const at::Tensor host = on_host(weights);
  add_elements(total, owned.slice.parameter, owned.slice.begin,
               std::span<const float>(values(host), count(host)));
}

void require(const result<void>& started) {
  if (!started) throw std::runtime_error(started.error().what);
}

}  // namespace

double sum_of_squares(const std::vector<state_shard>& shards) {
  at::Tensor total = make_zeros({}).to(at::kDouble);
  for (const state_shard& shard : shards)
    for_pieces(shard.gradients.numel(), [&](std::int64_t begin, std::int64_t size) {
      total.add_(at::square(at::linalg_vector_norm(shard.gradients.narrow(0, begin, size), 2,
                                                   at::OptionalIntArrayRef{}, /*keepdim=*/false,
                                                   at::kDouble)));
    });
  return total.item<double>();
}

void update_shard(state_shard& shard, const kernels::adamw_task& task) {
  if (const auto* own = own_kernels_for(shard.weights)) {
    kernels::adamw_task whole = task;
    whole.count = count(shard.weights);
    whole.weights = values(shard.weights);
    whole.exp_avg = values(shard.exp_avg);
    whole.exp_avg_sq = values(shard.exp_avg_sq);
    whole.gradients = values(shard.gradients);
    require(own->adamw(whole, nullptr));
    return;
  }
  for_pieces(shard.weights.numel(), [&](std::int64_t begin, std::int64_t size) {
    const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, begin, size); };
    const at::Tensor gradient = part(shard.gradients) * task.gradient_scale;
    at::Tensor first = part(shard.exp_avg);
    at::Tensor second = part(shard.exp_avg_sq);
    first.mul_(task.beta1).add_(gradient, 1.0F - task.beta1);
    second.mul_(task.beta2).addcmul_(gradient, gradient, 1.0F - task.beta2);
    const at::Tensor scale = at::sqrt(second).mul_(task.inverse_sqrt_correction2).add_(task.eps);
    part(shard.weights)
        .mul_(1.0F - task.learning_rate * task.weight_decay)
        .addcdiv_(first, scale, -task.step_size);
  });
}

state_digest digest_weights(const sharded_state& state) {
  state_digest total;
  const at::Tensor& first = state.shards().front().weights;
  const kernels::device_table* const own = own_kernels_for(first);
  at::Tensor sums = at::zeros({2}, at::TensorOptions(at::kLong).device(first.device()));
  for (const owned_slice& owned : state.owned()) {
    const at::Tensor weights = owned_part(state.shards()[owned.group].weights, owned);
    if (own == nullptr) {
      add_on_host(total, owned, weights);
      continue;
    }
    // Sums are modulo 2^64, for which the sign does not matter.
    auto* const into = reinterpret_cast<std::uint64_t*>(sums.mutable_data_ptr<std::int64_t>());
    require(own->weights_digest(
        {owned.slice.parameter, owned.slice.begin, count(weights), values(weights), into},
        nullptr));
  }
  if (own == nullptr) return total;
  const at::Tensor host = on_host(sums);
  const auto* const of_device = host.const_data_ptr<std::int64_t>();
  return {static_cast<std::uint64_t>(of_device[0]), static_cast<std::uint64_t>(of_device[1])};
}

}  // namespace troupe::gpu::library
