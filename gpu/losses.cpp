#include "gpu/losses.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace troupe::gpu {
namespace {

/// Bounds on what is exponentiated, where a loss's definition has them.
constexpr double log_ratio_max = 20;
constexpr double log_sequence_ratio_max = 10;

struct token_loss {
  double loss = 0;
  double gradient = 0;
};

/// What a ratio is bounded to at one position.
struct bounds {
  double low;
  double high;

  [[nodiscard]] double clip(double ratio) const { return std::clamp(ratio, low, high); }
};

/// -min(r A, clip(r) A), and its derivative where that of r is `slope`.
token_loss clipped_term(const bounds& range, double ratio, double slope, double advantage) {
  const double plain = ratio * advantage;
  const double clipped = range.clip(ratio) * advantage;
  // Written so that NaN takes the plain branch and is seen by the caller.
  if (clipped < plain) return {-clipped, 0};
  return {-plain, -slope * advantage};
}

token_loss importance_term(double change, double advantage) {
  const double value = -std::exp(change) * advantage;
  return {value, value};
}

token_loss cispo_term(const bounds& range, double logprob, double change, double advantage) {
  const double factor = range.clip(std::exp(change)) * advantage;
  return {-factor * logprob, -factor};
}

token_loss dro_term(const loss_options& options, double logprob, double change, double advantage) {
  return {-(logprob * advantage - options.beta / 2 * change * change),
          -(advantage - options.beta * change)};
}

token_loss dapo_term(const loss_options& options, const bounds& range, double change,
                     double advantage) {
  const double ratio = std::exp(std::clamp(change, -log_ratio_max, log_ratio_max));
  const double slope = std::abs(change) > log_ratio_max ? 0 : ratio;
  const token_loss term = clipped_term(range, ratio, slope, advantage);
  if (options.dual_clip == 0 || !(advantage < 0)) return term;
  const double most = -options.dual_clip * advantage;
  return term.loss > most ? token_loss{most, 0} : term;
}

bool counts_for_ratio(const datum& data, std::size_t i) {
  if (data.sequence_ratio_mask.empty()) return data.advantages[i] != 0.0F;
  return data.sequence_ratio_mask[i] != 0.0F;
}

/// exp(mean(p - q)) over the positions that count; 1 when none does.
double sequence_ratio(const datum& data, std::span<const float> logprobs) {
  double sum = 0;
  double count = 0;
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    if (!counts_for_ratio(data, i)) continue;
    sum += static_cast<double>(logprobs[i]) - static_cast<double>(data.logprobs[i]);
    ++count;
  }
  return count == 0 ? 1.0 : std::exp(std::min(sum / count, log_sequence_ratio_max));
}

/// What the positions of one datum have in common.
struct datum_terms {
  const loss_options& options;
  const datum& data;
  double ratio_of_sequence;

  [[nodiscard]] bounds range_at(std::size_t i) const {
    const auto& low = data.clip_low_thresholds;
    const auto& high = data.clip_high_thresholds;
    return {low.empty() ? options.clip_low : static_cast<double>(low[i]),
            high.empty() ? options.clip_high : static_cast<double>(high[i])};
  }

  [[nodiscard]] token_loss at(std::size_t i, double logprob) const {
    if (options.loss == loss_fn::cross_entropy) {
      const auto weight = static_cast<double>(data.weights[i]);
      return {-weight * logprob, -weight};
    }
    const auto advantage = static_cast<double>(data.advantages[i]);
    const double change = logprob - static_cast<double>(data.logprobs[i]);
    switch (options.loss) {
      case loss_fn::ppo:
        return clipped_term(range_at(i), std::exp(change), std::exp(change), advantage);
      case loss_fn::cispo:
        return cispo_term(range_at(i), logprob, change, advantage);
      case loss_fn::dro:
        return dro_term(options, logprob, change, advantage);
      case loss_fn::dapo:
        return dapo_term(options, range_at(i), change, advantage);
      case loss_fn::gspo:
        if (!counts_for_ratio(data, i)) return {};
        return clipped_term(range_at(i), ratio_of_sequence, ratio_of_sequence, advantage);
      case loss_fn::cross_entropy:
      case loss_fn::importance_sampling:
        break;
    }
    return importance_term(change, advantage);
  }
};

bool is_clipped(loss_fn loss) {
  return loss == loss_fn::ppo || loss == loss_fn::cispo || loss == loss_fn::dapo ||
         loss == loss_fn::gspo;
}

/// The option of `loss` with this key; null when it has none.
double* find_option(loss_options& options, const std::string& key) {
  const loss_fn loss = options.loss;
  const bool clips = is_clipped(loss);
  if (clips && key == "clip_low_threshold") return &options.clip_low;
  if (clips && key == "clip_high_threshold") return &options.clip_high;
  if (loss == loss_fn::dro && key == "beta") return &options.beta;
  if (loss == loss_fn::dapo && key == "dual_clip_threshold") return &options.dual_clip;
  return nullptr;
}

result<void> check_options(const loss_options& options) {
  if (!(options.clip_low >= 0) || !(options.clip_high >= options.clip_low) ||
      !std::isfinite(options.clip_high))
    return fail(errc::invalid_argument,
                "clip thresholds " + std::to_string(options.clip_low) + " and " +
                    std::to_string(options.clip_high) + " are no interval of ratios",
                "they bound the ratio itself, for example 0.8 and 1.2",
                "send 0 <= clip_low_threshold <= clip_high_threshold");
  if (!(options.beta >= 0) || !std::isfinite(options.beta))
    return fail(errc::invalid_argument, "beta is " + std::to_string(options.beta),
                "it weighs a penalty", "send a number that is not negative");
  if (options.dual_clip != 0 && !(options.dual_clip > 1 && std::isfinite(options.dual_clip)))
    return fail(errc::invalid_argument,
                "dual_clip_threshold is " + std::to_string(options.dual_clip),
                "it bounds ratios above 1 where the advantage is negative",
                "send a number greater than 1, for example 3");
  return {};
}

result<void> check_input(const char* name, const std::vector<float>& values, const datum& data) {
  if (values.size() == data.target_tokens.size()) return {};
  return fail(errc::invalid_argument,
              std::string("\"") + name + "\" has " + std::to_string(values.size()) +
                  " values for " + std::to_string(data.target_tokens.size()) + " target tokens",
              "the loss needs one value per target",
              "send this input at the length of target_tokens");
}

/// Bounds of single positions, where there are any.
result<void> check_thresholds(const loss_options& options, const datum& data) {
  const auto& low = data.clip_low_thresholds;
  const auto& high = data.clip_high_thresholds;
  if (low.empty() && high.empty()) return {};
  if (!is_clipped(options.loss))
    return fail(errc::invalid_argument, "the loss clips no ratio, but has thresholds per token",
                "they are inputs of ppo, cispo, dapo and gspo", "leave them out");
  for (const auto& [name, values] :
       {std::pair{"clip_low_threshold", &low}, std::pair{"clip_high_threshold", &high}}) {
    if (values->empty()) continue;
    if (auto ok = check_input(name, *values, data); !ok) return ok;
  }
  for (std::size_t i = 0; i < data.target_tokens.size(); ++i) {
    loss_options here = options;
    if (!low.empty()) here.clip_low = static_cast<double>(low[i]);
    if (!high.empty()) here.clip_high = static_cast<double>(high[i]);
    if (auto ok = check_options(here); !ok) return ok;
  }
  return {};
}

}  // namespace

result<loss_options> read_loss_options(loss_fn loss, const loss_fn_config& config) {
  loss_options options;
  options.loss = loss;
  if (loss == loss_fn::dapo) options.clip_high = 1.28;
  for (const auto& [key, value] : config) {
    double* const target = find_option(options, key);
    if (target == nullptr)
      return fail(errc::invalid_argument, "the loss has no option \"" + key + "\"",
                  "options are clip_low_threshold and clip_high_threshold of ppo, cispo, dapo and "
                  "gspo, beta of dro, dual_clip_threshold of dapo",
                  "remove or correct the option");
    *target = value;
  }
  if (auto ok = check_options(options); !ok) return fail(std::move(ok.error()));
  return options;
}

result<void> check_loss_inputs(const loss_options& options, const datum& data) {
  if (auto ok = check_thresholds(options, data); !ok) return ok;
  if (options.loss == loss_fn::cross_entropy) return check_input("weights", data.weights, data);
  if (auto ok = check_input("logprobs", data.logprobs, data); !ok) return ok;
  if (auto ok = check_input("advantages", data.advantages, data); !ok) return ok;
  if (options.loss != loss_fn::gspo || data.sequence_ratio_mask.empty()) return {};
  return check_input("sequence_ratio_mask", data.sequence_ratio_mask, data);
}

loss_value evaluate_loss(const loss_options& options, const datum& data,
                         std::span<const float> logprobs) {
  loss_value value;
  value.logprob_gradient.reserve(logprobs.size());
  const bool is_gspo = options.loss == loss_fn::gspo;
  const datum_terms terms{options, data, is_gspo ? sequence_ratio(data, logprobs) : 1.0};
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    const token_loss term = terms.at(i, static_cast<double>(logprobs[i]));
    value.loss += term.loss;
    value.logprob_gradient.push_back(static_cast<float>(term.gradient));
  }
  return value;
}

}  // namespace troupe::gpu
