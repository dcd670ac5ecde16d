#pragma once

// Supervised fine-tuning: a worked example of a loop. It walks over the rows in a seeded order and
// takes one step per batch; copy it and change what you need.
//
// Units: the loss shown is nats per trained token.
// Threading: blocks its thread. Errors: the first one ends the loop; finished steps stay.

#include <cstdint>
#include <functional>
#include <vector>

#include "apps/client/training_client.hpp"

namespace troupe::loops {

struct sft_options {
  std::uint64_t steps = 100;
  std::size_t batch_size = 32;
  double learning_rate = 1e-3;
  double grad_clip_norm = 1.0;
  std::uint64_t seed = 0;
};

struct sft_progress {
  std::uint64_t step = 0;  ///< 1, 2, ... of this loop
  double loss = 0;
  state_digest weights;
};

/// Told after each step; an error ends the loop with it.
using sft_observer = std::function<result<void>(const sft_progress&)>;

[[nodiscard]] result<void> run_sft(client::training_client& training,
                                   const std::vector<datum>& rows, const sft_options& options,
                                   const sft_observer& observe);

}  // namespace troupe::loops
