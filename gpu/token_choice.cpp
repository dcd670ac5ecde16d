#include "gpu/token_choice.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "config/limits.hpp"
#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/likeliest.hpp"
#include "gpu/logprob.hpp"
#include "messages/state_digest.hpp"

namespace troupe::gpu {
namespace {

result<void> refuse(const std::string& what, const std::string& action) {
  return fail(errc::invalid_argument, what, "a sampling parameter is out of range", action);
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

bool is_truncated(const sampling_params& params) {
  return params.top_k > 0 || params.top_p < 1.0 || params.min_p > 0;
}

/// Orders tokens by probability; ties go to the lower token.
struct likelier {
  std::span<const float> probabilities;
  bool operator()(std::uint32_t a, std::uint32_t b) const {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  }
};

/// Cuts `order` to its likeliest tokens that hold `share` of its probability, likeliest first.
/// Only pieces that are needed are sorted: the head is short and vocabularies are long.
void keep_head(std::vector<std::uint32_t>& order, double share, const likelier& is_likelier) {
  constexpr std::size_t first_piece = 256;
  constexpr std::size_t growth = 8;
  double total = 0;
  for (const std::uint32_t token : order)
    total += static_cast<double>(is_likelier.probabilities[token]);
  double sum = 0;
  std::size_t kept = 0;
  std::size_t sorted = 0;
  while (kept < order.size() && sum < share * total) {
    if (kept == sorted) {
      const auto begin = order.begin() + static_cast<std::ptrdiff_t>(sorted);
      sorted = std::min(order.size(), std::max(first_piece, sorted * growth));
      const auto end = order.begin() + static_cast<std::ptrdiff_t>(sorted);
      if (end != order.end()) std::nth_element(begin, end, order.end(), is_likelier);
      std::sort(begin, end, is_likelier);
    }
    sum += static_cast<double>(is_likelier.probabilities[order[kept++]]);
  }
  order.resize(std::max<std::size_t>(1, kept));
}

/// Tokens that truncation leaves, likeliest first.
std::vector<std::uint32_t> candidates(std::span<const float> probabilities,
                                      const sampling_params& params) {
  std::vector<std::uint32_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0U);
  const likelier is_likelier{probabilities};
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < order.size()) {
    std::ranges::nth_element(order, order.begin() + params.top_k - 1, is_likelier);
    order.resize(static_cast<std::size_t>(params.top_k));
  }
  if (params.top_p < 1.0) keep_head(order, params.top_p, is_likelier);
  const float best = probabilities[*std::ranges::min_element(order, is_likelier)];
  const double least = params.min_p * static_cast<double>(best);
  std::erase_if(order, [&](std::uint32_t token) {
    return static_cast<double>(probabilities[token]) < least;
  });
  std::ranges::sort(order, is_likelier);
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
  if (!(params.min_p >= 0) || !(params.min_p <= 1))
    return refuse("min_p is " + std::to_string(params.min_p), "use a share in [0, 1]");
  if (params.topk_logprobs > limits::topk_logprobs_max)
    return refuse("topk_logprobs is " + std::to_string(params.topk_logprobs),
                  "ask for at most " + std::to_string(limits::topk_logprobs_max));
  if (params.stop_tokens.size() > limits::stop_tokens_max)
    return refuse(std::to_string(params.stop_tokens.size()) + " stop tokens",
                  "use at most " + std::to_string(limits::stop_tokens_max));
  return {};
}

error damaged_logits() {
  return {errc::not_finite, "the model's logits are NaN or infinite",
          "a weight is NaN, infinite or very large, or the temperature is next to nothing",
          "serve other weights, or sample at temperature 0 or above 1e-6"};
}

result<scored_token> choose_token(std::span<float> logits, const sampling_params& params,
                                  const random_key& key) {
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  const auto log_sum = [&] { return cpu.log_sum_exp(logits.size(), logits.data()); };
  scored_token out;
  if (params.temperature == 0) {
    const std::size_t best = argmax(logits);
    const float lse = log_sum();
    if (!std::isfinite(lse)) return fail(damaged_logits());
    out.token = static_cast<token_id>(best);
    out.logprob = out.raw_logprob = logprob_of(logits[best], lse);
    if (params.topk_logprobs > 0) append_likeliest(logits, lse, params.topk_logprobs, out.topk);
    return out;
  }
  const bool needs_raw = params.with_other_logprobs && params.temperature != 1.0;
  const std::vector<float> raw(logits.begin(), needs_raw ? logits.end() : logits.begin());
  const float raw_lse = needs_raw ? log_sum() : 0.0F;
  const auto inverse = static_cast<float>(1.0 / params.temperature);
  for (float& logit : logits)
    logit *= inverse;
  const float lse = log_sum();
  if (!std::isfinite(lse)) return fail(damaged_logits());
  if (params.topk_logprobs > 0) append_likeliest(logits, lse, params.topk_logprobs, out.topk);
  cpu.exponentials(logits.size(), lse, logits.data());
  const double share = uniform(key);
  std::size_t token = 0;
  double kept = 1;
  if (is_truncated(params)) {
    const auto order = candidates(logits, params);
    token = order[draw(order.size(), share, [&](std::size_t i) { return logits[order[i]]; })];
    kept = 0;
    for (const std::uint32_t candidate : order)
      kept += static_cast<double>(logits[candidate]);
  } else {
    token = draw(logits.size(), share, [&](std::size_t i) { return logits[i]; });
  }
  out.token = static_cast<token_id>(token);
  out.logprob = logprob_of(std::log(logits[token]), 0.0F);
  if (!params.with_other_logprobs) return out;
  out.raw_logprob = needs_raw ? logprob_of(raw[token], raw_lse) : out.logprob;
  out.sampling_logprob = logprob_of(out.logprob, static_cast<float>(std::log(kept)));
  return out;
}

}  // namespace troupe::gpu
