#include "gpu/token_choice.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "config/limits.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "messages/state_digest.hpp"

namespace troupe::gpu {
namespace {

result<void> refuse(const std::string& what, const std::string& action) {
  return fail(errc::invalid_argument, what, "", action);
}

std::size_t argmax(std::span<const float> values) {
  return static_cast<std::size_t>(std::ranges::max_element(values) - values.begin());
}

/// First index at which the running sum of probabilities passes `share` of their total.
template <class Probability>
std::size_t draw(std::size_t count, double share, const Probability& probability) {
  double total = 0;
  for (std::size_t i = 0; i < count; ++i)
    total += static_cast<double>(probability(i));
  double sum = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (probability(i) <= 0) continue;
    sum += static_cast<double>(probability(i));
    last = i;
    if (sum > share * total) break;
  }
  return last;
}

/// Tokens that truncation leaves, likeliest first.
std::vector<std::uint32_t> candidates(std::span<const float> probabilities,
                                      const sampling_params& params) {
  std::vector<std::uint32_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto is_likelier = [&](std::uint32_t a, std::uint32_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  };
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < order.size()) {
    std::ranges::nth_element(order, order.begin() + params.top_k - 1, is_likelier);
    order.resize(static_cast<std::size_t>(params.top_k));
  }
  std::ranges::sort(order, is_likelier);
  if (params.top_p >= 1.0) return order;
  double total = 0;
  for (const std::uint32_t token : order)
    total += static_cast<double>(probabilities[token]);
  double sum = 0;
  std::size_t kept = 0;
  while (kept < order.size() && sum < params.top_p * total)
    sum += static_cast<double>(probabilities[order[kept++]]);
  order.resize(std::max<std::size_t>(1, kept));
  return order;
}

}  // namespace

double uniform(const random_key& key) {
  constexpr std::uint64_t step = 0x9e3779b97f4a7c15ULL;
  std::uint64_t x = detail::mix64(key.seed + step);
  x = detail::mix64(x + step * (std::uint64_t{key.sample_index} + 1));
  x = detail::mix64(x + step * (key.position + 1));
  return static_cast<double>(x >> 11U) * 0x1p-53;
}

result<void> check_sampling(const sampling_params& params) {
  if (params.max_tokens == 0 || params.max_tokens > limits::sample_tokens_max)
    return refuse("max_tokens is " + std::to_string(params.max_tokens),
                  "ask for 1 to " + std::to_string(limits::sample_tokens_max));
  if (!(params.temperature >= 0) || !std::isfinite(params.temperature))
    return refuse("temperature is " + std::to_string(params.temperature),
                  "use 0 for greedy decoding, or a positive number");
  if (!(params.top_p > 0) || !(params.top_p <= 1))
    return refuse("top_p is " + std::to_string(params.top_p), "use a share in (0, 1]");
  if (params.top_k < -1 || params.top_k == 0)
    return refuse("top_k is " + std::to_string(params.top_k),
                  "use -1 for no limit, or a positive number");
  if (params.stop_tokens.size() > limits::stop_tokens_max)
    return refuse(std::to_string(params.stop_tokens.size()) + " stop tokens",
                  "use at most " + std::to_string(limits::stop_tokens_max));
  return {};
}

chosen_token choose_token(std::span<float> logits, const sampling_params& params,
                          const random_key& key) {
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  if (params.temperature == 0) {
    const std::size_t token = argmax(logits);
    const float lse = cpu.log_sum_exp(logits.size(), logits.data());
    return {static_cast<token_id>(token), std::min(0.0F, logits[token] - lse)};
  }
  const auto inverse = static_cast<float>(1.0 / params.temperature);
  for (float& logit : logits)
    logit *= inverse;
  const float lse = cpu.log_sum_exp(logits.size(), logits.data());
  cpu.exponentials(logits.size(), lse, logits.data());
  const double share = uniform(key);
  const bool is_truncated = params.top_k > 0 || params.top_p < 1.0;
  std::size_t token = 0;
  if (is_truncated) {
    const auto order = candidates(logits, params);
    token = order[draw(order.size(), share, [&](std::size_t i) { return logits[order[i]]; })];
  } else {
    token = draw(logits.size(), share, [&](std::size_t i) { return logits[i]; });
  }
  return {static_cast<token_id>(token), std::min(0.0F, std::log(logits[token]))};
}

}  // namespace troupe::gpu
