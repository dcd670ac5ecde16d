#include "gpu/finite_checks.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace troupe::gpu {
namespace {

bool is_finite(std::span<const float> numbers) {
  return std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
}

bool is_finite(const datum_details& details) {
  return is_finite(details.topk.logprobs) && is_finite(details.entropies) &&
         is_finite(details.embedding);
}

}  // namespace

result<void> check_loss_finite(std::span<const float> gradient, double loss) {
  if (std::isfinite(loss) && is_finite(gradient)) return {};
  return fail(errc::not_finite, "the loss or its gradient is NaN or infinite; nothing was added",
              "a loss input is not finite, or exp(logprob - old logprob) overflowed",
              "check weights, advantages and old logprobs");
}

result<void> check_outputs_finite(const forward_result& outputs) {
  const bool logprobs = std::ranges::all_of(
      outputs.logprobs, [](const std::vector<float>& part) { return is_finite(part); });
  const bool details = std::ranges::all_of(
      outputs.details, [](const datum_details& part) { return is_finite(part); });
  if (logprobs && details) return {};
  return fail(errc::not_finite,
              "the model's logprobs are NaN or infinite; nothing was added or kept",
              "a weight is NaN, infinite or very large: training diverged, or the model's files "
              "are damaged",
              "load the last good checkpoint and lower the learning rate, or check the files");
}

}  // namespace troupe::gpu
