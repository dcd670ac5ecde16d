#pragma once

// The loss that a forward pass is asked for. The cluster answers logprobs; the loss is a function
// of them and of what the client sent beside the tokens, so it is computed here, by the formulas of
// a forward_backward.
//
// Threading: a plain value.
// Errors: errc::invalid_argument for inputs or options that the loss does not take.

#include <vector>

#include "gpu/losses.hpp"

namespace troupe::gateway {

class forward_loss {
 public:
  /// Keeps what it needs of the batch.
  [[nodiscard]] static result<forward_loss> of(loss_fn loss, const loss_fn_config& config,
                                               const std::vector<datum>& batch);

  /// Summed over the batch. Requires: one row for each datum, as long as its targets.
  [[nodiscard]] double value(const std::vector<std::vector<float>>& logprobs) const;

 private:
  gpu::loss_options options_;
  std::vector<datum> batch_;  ///< without its tokens
};

}  // namespace troupe::gateway
