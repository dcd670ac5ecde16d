#include "gpu/torch/optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/library/state.hpp"

namespace troupe::gpu {
namespace {

/// Elements one task handles; fixed, so that sums do not depend on the thread count.
constexpr std::size_t piece = 32 * 1024;

result<void> check_number(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return fail(errc::invalid_argument,
              std::string(name) + " is " + std::to_string(value) + ", outside [" +
                  std::to_string(low) + ", " + std::to_string(high) + "]",
              "", "correct the optimizer's parameters");
}

/// What body(begin, end) answers for each piece of a shard, in order.
template <class Body>
auto for_each_piece(std::size_t elements, const Body& body) {
  std::vector<decltype(body(elements, elements))> answers((elements + piece - 1) / piece);
  for_ranges(answers.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p)
      answers[p] = body(p * piece, std::min((p + 1) * piece, elements));
  });
  return answers;
}

double local_sum_of_squares(const sharded_state& state) {
  if (uses_library()) return library::sum_of_squares(state.shards());
  double total = 0;
  for (const state_shard& shard : state.shards()) {
    const auto sum_of = [&](std::size_t begin, std::size_t end) {
      return kernels::for_this_cpu().sum_of_squares(end - begin, values(shard.gradients) + begin);
    };
    for (const double sum : for_each_piece(count(shard.gradients), sum_of))
      total += sum;
  }
  return total;
}

/// What this rank owns of one shard, in order of its place there.
using shard_owners = std::vector<const owned_slice*>;

std::vector<shard_owners> owners_of(const sharded_state& state) {
  std::vector<shard_owners> owners(state.shards().size());
  for (const owned_slice& owned : state.owned())
    owners[owned.group].push_back(&owned);
  for (shard_owners& of_shard : owners)
    std::ranges::sort(of_shard, {}, &owned_slice::shard_offset);
  return owners;
}

/// Sums what body(owned, first, last) answers for a shard from `begin` to `end`; null: this rank
/// owns none of these.
template <class Body>
state_digest sum_over_owned(const shard_owners& owners, std::size_t begin, std::size_t end,
                            const Body& body) {
  const auto end_of = [](const owned_slice* owned) {
    return owned->shard_offset + owned->slice.num_elements();
  };
  state_digest total;
  const auto add = [&](const owned_slice* owned, std::size_t first, std::size_t last) {
    if (first == last) return;
    const kernels::digest_sums sum = body(owned, first, last);
    total += {sum.low, sum.high};
  };
  for (auto at = std::ranges::upper_bound(owners, begin, {}, end_of);
       at != owners.end() && (*at)->shard_offset < end; ++at) {
    const std::size_t first = std::max(begin, (*at)->shard_offset);
    const std::size_t last = std::min(end, end_of(*at));
    add(nullptr, begin, first);
    add(*at, first, last);
    begin = last;
  }
  add(nullptr, begin, end);
  return total;
}

/// The same for all of a shard.
template <class Body>
state_digest sum_over_shard(const at::Tensor& weights, const shard_owners& owners,
                            const Body& body) {
  const auto sum_of = [&](std::size_t begin, std::size_t end) {
    return sum_over_owned(owners, begin, end, body);
  };
  state_digest total;
  for (const state_digest& sum : for_each_piece(count(weights), sum_of))
    total += sum;
  return total;
}

/// Which element of its parameter an owned one is, by its place in the shard.
std::uint64_t element_at(const owned_slice& owned, std::size_t place) {
  return owned.slice.begin + place - owned.shard_offset;
}

kernels::digest_sums digest_range(const float* weights, const owned_slice* owned, std::size_t begin,
                                  std::size_t end) {
  if (owned == nullptr) return {};
  return kernels::for_this_cpu().digest(owned->slice.parameter, element_at(*owned, begin),
                                        end - begin, weights + begin);
}

/// Also what is not owned, as a replica's copy.
kernels::digest_sums update_range(state_shard& shard, kernels::adamw_task task,
                                  const owned_slice* owned, std::size_t begin, std::size_t end) {
  task.count = end - begin;
  task.weights = values(shard.weights) + begin;
  task.exp_avg = values(shard.exp_avg) + begin;
  task.exp_avg_sq = values(shard.exp_avg_sq) + begin;
  task.gradients = values(std::as_const(shard.gradients)) + begin;
  if (owned != nullptr) {
    task.parameter = owned->slice.parameter;
    task.first_element = element_at(*owned, begin);
  }
  const kernels::digest_sums sum = kernels::for_this_cpu().adamw(task);
  return owned != nullptr ? sum : kernels::digest_sums{};
}

state_digest update_all(sharded_state& state, const kernels::adamw_task& task) {
  if (uses_library()) {
    for (state_shard& shard : state.shards())
      library::update_shard(shard, task);
    return library::digest_weights(state);
  }
  const auto owners = owners_of(state);
  state_digest total;
  for (std::size_t group = 0; group < owners.size(); ++group) {
    state_shard& shard = state.shards()[group];
    total += sum_over_shard(shard.weights, owners[group],
                            [&](const owned_slice* owned, std::size_t begin, std::size_t end) {
                              return update_range(shard, task, owned, begin, end);
                            });
  }
  return total;
}

}  // namespace

result<void> check_adam(const adam_params& adam) {
  constexpr double below_one = 1.0 - 1e-12;
  if (auto ok = check_number("learning_rate", adam.learning_rate, 0, 1e6); !ok) return ok;
  if (auto ok = check_number("beta1", adam.beta1, 0, below_one); !ok) return ok;
  if (auto ok = check_number("beta2", adam.beta2, 0, below_one); !ok) return ok;
  // A zero would divide 0 by 0 wherever a gradient was always 0, as in unused embedding rows.
  if (auto ok = check_number("eps", adam.eps, 1e-37, 1); !ok) return ok;
  if (auto ok = check_number("weight_decay", adam.weight_decay, 0, 1e6); !ok) return ok;
  return check_number("grad_clip_norm", adam.grad_clip_norm, 0, 1e30);
}

result<updated_state> adamw_step(sharded_state& state, const adam_params& adam, std::uint64_t step,
                                 double divisor) {
  if (auto ok = state.finish_gradients(); !ok) return fail(std::move(ok.error()));
  std::array<double, 1> squares{local_sum_of_squares(state)};
  if (auto ok = state.ranks().group().all_reduce(squares); !ok) return fail(std::move(ok.error()));
  const double norm = std::sqrt(squares[0]) / divisor;
  if (!std::isfinite(norm))
    return fail(errc::not_finite, "a gradient is NaN or infinite; no weight was changed",
                "the loss diverged, or a loss input was not finite",
                "check the loss inputs, lower the learning rate, or go back to a checkpoint");

  const bool is_clipped = adam.grad_clip_norm > 0;
  const double scale = is_clipped ? std::min(1.0, adam.grad_clip_norm / (norm + 1e-6)) : 1.0;
  const auto steps = static_cast<double>(step);
  kernels::adamw_task task;
  task.gradient_scale = static_cast<float>(scale / divisor);
  task.learning_rate = static_cast<float>(adam.learning_rate);
  task.beta1 = static_cast<float>(adam.beta1);
  task.beta2 = static_cast<float>(adam.beta2);
  task.eps = static_cast<float>(adam.eps);
  task.weight_decay = static_cast<float>(adam.weight_decay);
  task.step_size = static_cast<float>(adam.learning_rate / (1.0 - std::pow(adam.beta1, steps)));
  task.inverse_sqrt_correction2 =
      static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(adam.beta2, steps)));
  const state_digest digest = update_all(state, task);
  state.weights_changed();
  return updated_state{norm, digest};
}

state_digest digest_weights(const sharded_state& state) {
  if (uses_library()) return library::digest_weights(state);
  const auto owners = owners_of(state);
  state_digest total;
  for (std::size_t group = 0; group < owners.size(); ++group) {
    const at::Tensor& weights = state.shards()[group].weights;
    total += sum_over_shard(weights, owners[group],
                            [&](const owned_slice* owned, std::size_t begin, std::size_t end) {
                              return digest_range(values(weights), owned, begin, end);
                            });
  }
  return total;
}

}  // namespace troupe::gpu
