#include "gpu/losses.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace troupe::gpu {
namespace {

struct token_loss {
  double loss = 0;
  double gradient = 0;
};

token_loss importance_term(double logprob, double sampled, double advantage) {
  const double value = -std::exp(logprob - sampled) * advantage;
  return {value, value};
}

token_loss ppo_term(const loss_options& options, double logprob, double sampled, double advantage) {
  const double ratio = std::exp(logprob - sampled);
  const double plain = ratio * advantage;
  const double clipped = std::clamp(ratio, options.clip_low, options.clip_high) * advantage;
  // Written so that NaN takes the plain branch and is seen by the caller.
  if (clipped < plain) return {-clipped, 0};
  return {-plain, -plain};
}

token_loss term_at(const loss_options& options, const datum& data, double logprob, std::size_t i) {
  switch (options.loss) {
    case loss_fn::cross_entropy: {
      const auto weight = static_cast<double>(data.weights[i]);
      return {-weight * logprob, -weight};
    }
    case loss_fn::importance_sampling:
      return importance_term(logprob, static_cast<double>(data.logprobs[i]),
                             static_cast<double>(data.advantages[i]));
    case loss_fn::ppo:
      return ppo_term(options, logprob, static_cast<double>(data.logprobs[i]),
                      static_cast<double>(data.advantages[i]));
  }
  return {};
}

result<void> check_input(const char* name, const std::vector<float>& values, const datum& data) {
  if (values.size() == data.tokens.size()) return {};
  return fail(errc::invalid_argument,
              std::string("\"") + name + "\" has " + std::to_string(values.size()) +
                  " values for " + std::to_string(data.tokens.size()) + " tokens",
              "the loss needs one value per position", "send this input at the length of tokens");
}

}  // namespace

result<loss_options> read_loss_options(loss_fn loss, const loss_fn_config& config) {
  loss_options options;
  options.loss = loss;
  for (const auto& [key, value] : config) {
    double* target = nullptr;
    if (loss == loss_fn::ppo && key == "clip_low_threshold") target = &options.clip_low;
    if (loss == loss_fn::ppo && key == "clip_high_threshold") target = &options.clip_high;
    if (target == nullptr)
      return fail(errc::invalid_argument, "the loss has no option \"" + key + "\"",
                  "options are clip_low_threshold and clip_high_threshold, of ppo",
                  "remove or correct the option");
    *target = value;
  }
  if (!(options.clip_low >= 0) || !(options.clip_high >= options.clip_low) ||
      !std::isfinite(options.clip_high))
    return fail(errc::invalid_argument,
                "clip thresholds " + std::to_string(options.clip_low) + " and " +
                    std::to_string(options.clip_high) + " are no interval of ratios",
                "they bound the ratio itself, for example 0.8 and 1.2",
                "send 0 <= clip_low_threshold <= clip_high_threshold");
  return options;
}

result<void> check_loss_inputs(const loss_options& options, const datum& data) {
  if (options.loss == loss_fn::cross_entropy) return check_input("weights", data.weights, data);
  if (auto ok = check_input("logprobs", data.logprobs, data); !ok) return ok;
  return check_input("advantages", data.advantages, data);
}

loss_value evaluate_loss(const loss_options& options, const datum& data,
                         std::span<const float> logprobs) {
  loss_value value;
  value.logprob_gradient.reserve(logprobs.size());
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    const token_loss term = term_at(options, data, static_cast<double>(logprobs[i]), i);
    value.loss += term.loss;
    value.logprob_gradient.push_back(static_cast<float>(term.gradient));
  }
  return value;
}

}  // namespace troupe::gpu
