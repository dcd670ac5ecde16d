#include "apps/gateway/forward_loss.hpp"

namespace troupe::gateway {

result<forward_loss> forward_loss::of(loss_fn loss, const loss_fn_config& config,
                                      const std::vector<datum>& batch) {
  const auto options = gpu::read_loss_options(loss, config);
  if (!options) return fail(options.error());
  forward_loss out;
  out.options_ = *options;
  for (const datum& row : batch) {
    if (const auto ok = gpu::check_loss_inputs(*options, row); !ok) return fail(ok.error());
    datum& kept = out.batch_.emplace_back(row);
    kept.tokens.clear();
  }
  return out;
}

double forward_loss::value(const std::vector<std::vector<float>>& logprobs) const {
  double sum = 0;
  for (std::size_t i = 0; i < batch_.size() && i < logprobs.size(); ++i) {
    if (logprobs[i].size() != batch_[i].target_tokens.size()) continue;
    sum += gpu::evaluate_loss(options_, batch_[i], logprobs[i]).loss;
  }
  return sum;
}

}  // namespace troupe::gateway
