#pragma once

// Reinforcement learning with a loss of one's own: a worked example of a loop. Each step draws
// questions, lets the live deployment answer each several times, rewards the answers, computes the
// GRPO loss over the logprobs here, and brings the new weights to the deployment.
//
// Threading: blocks its thread. Errors: the first one ends the loop; finished steps stay.

#include <cstdint>
#include <functional>
#include <string_view>

#include "apps/client/sampling_client.hpp"
#include "apps/client/training_client.hpp"
#include "apps/loops/arithmetic_task.hpp"
#include "apps/loops/grpo_loss.hpp"

namespace troupe::loops {

struct grpo_options {
  std::uint64_t steps = 60;
  std::size_t questions_per_step = 32;
  std::uint32_t answers_per_question = 8;
  std::uint32_t max_tokens = 4;
  double learning_rate = 1e-3;
  double grad_clip_norm = 1.0;
  std::uint64_t seed = 0;
  clip_range clip;
};

struct grpo_progress {
  std::uint64_t step = 0;  ///< 1, 2, ... of this loop
  double reward = 0;       ///< mean over the answers
  double loss = 0;
  state_digest weights;
  checkpoint_result published;
  sync_reply sync;
};

/// Told after each step; an error ends the loop with it.
using grpo_observer = std::function<result<void>(const grpo_progress&)>;
/// Where questions come from, and what an answer is worth.
using question_source = std::function<question()>;
using reward_function = std::function<double(const question&, std::string_view answer)>;

[[nodiscard]] result<void> run_grpo(client::training_client& training,
                                    client::sampling_client& sampling,
                                    const question_source& next_question,
                                    const reward_function& reward, const grpo_options& options,
                                    const grpo_observer& observe);

}  // namespace troupe::loops
