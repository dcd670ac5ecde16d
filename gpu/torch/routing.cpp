#include "gpu/torch/routing.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/library/places.hpp"
#include "gpu/torch/library/transfers.hpp"

namespace troupe::gpu {
namespace {

constexpr std::size_t row_grain = 16;

/// The largest entry that `taken` does not hold. NaN is never larger, so damaged rows pick the
/// first experts instead of none.
std::uint32_t largest(std::span<const float> row, std::span<const std::uint32_t> taken) {
  const auto is_taken = [&](std::uint32_t e) { return std::ranges::find(taken, e) != taken.end(); };
  std::uint32_t best = 0;
  while (is_taken(best))
    ++best;
  for (std::uint32_t e = best + 1; e < row.size(); ++e)
    if (row[e] > row[best] && !is_taken(e)) best = e;
  return best;
}

void pick_row(const expert_config& experts, std::span<const float> row,
              std::span<std::uint32_t> picks, std::span<float> weights) {
  float sum = 0;
  for (std::size_t j = 0; j < picks.size(); ++j) {
    picks[j] = largest(row, picks.first(j));
    weights[j] = row[picks[j]];
    sum += weights[j];
  }
  if (!experts.weights_sum_to_one) return;
  for (float& weight : weights)
    weight /= sum;
}

/// Places from picks: a stable counting sort.
void sort_slots(const expert_config& experts, routing& choice) {
  choice.offsets.assign(std::size_t{experts.count} + 1, 0);
  for (const std::uint32_t pick : choice.picks)
    ++choice.offsets[pick + 1];
  for (std::size_t e = 0; e < experts.count; ++e)
    choice.offsets[e + 1] += choice.offsets[e];
  std::vector<std::size_t> next(choice.offsets.begin(), choice.offsets.end() - 1);
  choice.slots.resize(choice.picks.size());
  for (std::uint32_t slot = 0; slot < choice.picks.size(); ++slot)
    choice.slots[next[choice.picks[slot]]++] = slot;
}

std::size_t per_row(const routing& choice) {
  const std::size_t rows = extent(choice.probabilities, 0);
  return rows == 0 ? 1 : choice.picks.size() / rows;
}

/// What `route` does on a device: only the picks are the host's.
routing route_library(const expert_config& experts, const at::Tensor& logits) {
  const std::size_t k = experts.per_token;
  routing choice;
  choice.probabilities = library::softmax_rows(logits);
  const at::Tensor host = library::on_host(choice.probabilities);
  const std::span<const float> all(values(host), count(host));
  choice.picks.resize(extent(logits, 0) * k);
  choice.weights.resize(choice.picks.size());
  for (std::size_t t = 0; t < extent(logits, 0); ++t)
    pick_row(experts, all.subspan(t * experts.count, experts.count),
             std::span(choice.picks).subspan(t * k, k),
             std::span(choice.weights).subspan(t * k, k));
  sort_slots(experts, choice);
  return choice;
}

}  // namespace

void router_load::add(const routing& choice) {
  const std::size_t width = extent(choice.probabilities, 1);
  picks.resize(width);
  probabilities.resize(width);
  for (std::size_t e = 0; e < width; ++e)
    picks[e] += static_cast<double>(choice.offsets[e + 1] - choice.offsets[e]);
  const at::Tensor of_rows = library::on_host(choice.probabilities);
  const float* const p = values(of_rows);
  for (std::size_t i = 0; i < count(choice.probabilities); ++i)
    probabilities[i % width] += static_cast<double>(p[i]);
  rows += static_cast<double>(extent(choice.probabilities, 0));
}

result<void> router_load::add_up(comm& ranks, std::size_t num_experts) {
  picks.resize(num_experts);
  probabilities.resize(num_experts);
  std::vector<double> sums(picks);
  sums.insert(sums.end(), probabilities.begin(), probabilities.end());
  sums.push_back(rows);
  if (auto ok = ranks.all_reduce(sums); !ok) return ok;
  std::copy_n(sums.begin(), num_experts, picks.begin());
  std::copy_n(&sums[num_experts], num_experts, probabilities.begin());
  rows = sums.back();
  return {};
}

double router_load::balance_loss() const {
  double sum = 0;
  for (std::size_t e = 0; e < picks.size(); ++e)
    sum += picks[e] * probabilities[e];
  return rows == 0 ? 0 : sum * static_cast<double>(picks.size()) / (rows * rows);
}

double router_load::busiest_share() const {
  const double all = std::accumulate(picks.begin(), picks.end(), 0.0);
  return all == 0 ? 0 : *std::ranges::max_element(picks) / all;
}

routing route(const expert_config& experts, at::Tensor logits) {
  if (uses_library()) return route_library(experts, logits);
  const std::size_t rows = extent(logits, 0);
  const std::size_t width = experts.count;
  const std::size_t k = experts.per_token;
  routing choice;
  choice.picks.resize(rows * k);
  choice.weights.resize(rows * k);
  float* const all = values(logits);
  for_ranges(rows, row_grain, [&](std::size_t begin, std::size_t end) {
    const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
    for (std::size_t t = begin; t < end; ++t) {
      float* const row = all + t * width;
      cpu.exponentials(width, cpu.log_sum_exp(width, row), row);
      pick_row(experts, {row, width}, std::span(choice.picks).subspan(t * k, k),
               std::span(choice.weights).subspan(t * k, k));
    }
  });
  choice.probabilities = std::move(logits);
  sort_slots(experts, choice);
  return choice;
}

at::Tensor gather_places(const routing& choice, const at::Tensor& x) {
  if (uses_library()) return library::gather_places(choice, x);
  const std::size_t width = extent(x, 1);
  const std::size_t k = per_row(choice);
  at::Tensor out = make_tensor({choice.num_places(), width});
  const float* const from = values(x);
  float* const to = values(out);
  for_ranges(choice.num_places(), row_grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t place = begin; place < end; ++place)
      std::memcpy(to + place * width, from + choice.slots[place] / k * width,
                  width * sizeof(float));
  });
  return out;
}

void add_places(const routing& choice, const at::Tensor& places, at::Tensor sum) {
  if (uses_library()) return library::add_places(choice, places, sum);
  const std::size_t width = extent(sum, 1);
  const std::size_t k = per_row(choice);
  std::vector<std::size_t> place_of(choice.num_places());
  for (std::size_t place = 0; place < place_of.size(); ++place)
    place_of[choice.slots[place]] = place;
  const float* const from = values(places);
  float* const to = values(sum);
  for_ranges(extent(sum, 0), row_grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t slot = begin * k; slot < end * k; ++slot)
      kernels::for_this_cpu().add(width, from + place_of[slot] * width, to + slot / k * width);
  });
}

void scale_places(const routing& choice, at::Tensor places) {
  if (uses_library()) return library::scale_places(choice, places);
  const std::size_t width = extent(places, 1);
  float* const to = values(places);
  for_ranges(choice.num_places(), row_grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t place = begin; place < end; ++place) {
      const float weight = choice.weights[choice.slots[place]];
      for (std::size_t i = place * width; i < (place + 1) * width; ++i)
        to[i] *= weight;
    }
  });
}

at::Tensor route_backward(const expert_config& experts, const routing& choice,
                          std::span<const float> weight_gradient) {
  const std::size_t rows = extent(choice.probabilities, 0);
  const std::size_t width = experts.count;
  const std::size_t k = experts.per_token;
  at::Tensor gradient = at::empty(choice.probabilities.sizes(), at::kFloat);
  const at::Tensor probabilities = library::on_host(choice.probabilities);
  const float* const p = values(probabilities);
  float* const to = values(gradient);
  for_ranges(rows, row_grain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> up(k);
    for (std::size_t t = begin; t < end; ++t) {
      const std::uint32_t* const picks = &choice.picks[t * k];
      const float* const row = p + t * width;
      std::copy_n(&weight_gradient[t * k], k, up.begin());
      if (experts.weights_sum_to_one) {
        float sum = 0;
        float shared = 0;
        for (std::size_t j = 0; j < k; ++j) {
          sum += row[picks[j]];
          shared += up[j] * choice.weights[t * k + j];
        }
        for (float& each : up)
          each = (each - shared) / sum;
      }
      float dot = 0;
      for (std::size_t j = 0; j < k; ++j)
        dot += up[j] * row[picks[j]];
      float* const out = to + t * width;
      for (std::size_t e = 0; e < width; ++e)
        out[e] = -dot * row[e];
      for (std::size_t j = 0; j < k; ++j)
        out[picks[j]] += up[j] * row[picks[j]];
    }
  });
  return gradient.to(current_device());
}

}  // namespace troupe::gpu
