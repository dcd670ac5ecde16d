#include "apps/loops/grpo_loss.hpp"

#include <algorithm>
#include <cmath>

namespace troupe::loops {
namespace {

constexpr double deviation_floor = 1e-4;

struct token_value {
  double objective = 0;
  double gradient = 0;
  bool clipped = false;
};

token_value surrogate(double logprob, double sampled, double advantage, const clip_range& clip) {
  const double ratio = std::exp(logprob - sampled);
  const double bounded = std::clamp(ratio, 1.0 - clip.low, 1.0 + clip.high);
  const double free_term = ratio * advantage;
  const double bounded_term = bounded * advantage;
  if (bounded_term < free_term) return {bounded_term, 0.0, true};
  return {free_term, free_term, false};
}

}  // namespace

result<std::vector<float>> group_advantages(std::span<const float> rewards,
                                            std::size_t group_size) {
  if (group_size == 0 || rewards.size() % group_size != 0) {
    return fail(errc::invalid_argument, "rewards do not divide into groups");
  }
  std::vector<float> out(rewards.size());
  const auto count = static_cast<double>(group_size);
  for (std::size_t first = 0; first < rewards.size(); first += group_size) {
    double sum = 0;
    for (std::size_t i = first; i < first + group_size; ++i)
      sum += double{rewards[i]};
    const double mean = sum / count;
    double squares = 0;
    for (std::size_t i = first; i < first + group_size; ++i)
      squares += std::pow(double{rewards[i]} - mean, 2);
    const double deviation = std::sqrt(squares / count);
    for (std::size_t i = first; i < first + group_size; ++i)
      out[i] = static_cast<float>((double{rewards[i]} - mean) / (deviation + deviation_floor));
  }
  return out;
}

result<grpo_value> grpo_loss(std::span<const std::vector<float>> logprobs,
                             std::span<const answer_terms> answers, const clip_range& clip) {
  if (logprobs.size() != answers.size()) {
    return fail(errc::invalid_argument, "logprobs and answers differ in number");
  }
  double tokens = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::size_t length = logprobs[i].size();
    if (answers[i].mask.size() != length || answers[i].sampled_logprobs.size() != length) {
      return fail(errc::invalid_argument, "answer " + std::to_string(i) + " differs in length");
    }
    for (const float mask : answers[i].mask)
      tokens += double{mask};
  }
  const double scale = 1.0 / std::max(tokens, 1.0);
  grpo_value out;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    std::vector<float> gradient(logprobs[i].size(), 0.0F);
    for (std::size_t t = 0; t < gradient.size(); ++t) {
      if (answers[i].mask[t] == 0.0F) continue;
      const token_value value =
          surrogate(double{logprobs[i][t]}, double{answers[i].sampled_logprobs[t]},
                    double{answers[i].advantage}, clip);
      out.loss -= value.objective * scale;
      if (value.clipped) out.clipped_share += scale;
      gradient[t] = static_cast<float>(-value.gradient * scale);
    }
    out.gradients.push_back(std::move(gradient));
  }
  if (!std::isfinite(out.loss)) {
    return fail(errc::not_finite, "the GRPO loss is not finite", "logprobs are not finite",
                "lower the learning rate");
  }
  return out;
}

}  // namespace troupe::loops
