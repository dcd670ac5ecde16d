#pragma once

// The whole performance on one machine: a model from a seed is fine-tuned, served, improved by
// reinforcement learning while it is served, loses a trainer process on the way, and goes on.
//
// Accuracy is measured by sampling at temperature 1 on questions that training never sees.
//
// Threading: blocks its thread. Errors: the first one; errc::internal when the kill was not
// recovered from.

#include <cstdint>
#include <string>

#include "apps/support/progress.hpp"
#include "apps/troupe/demo/report.hpp"

namespace troupe::apps {

enum class fault_plan : std::uint8_t { kill_a_trainer = 0, none = 1 };

struct demo_options {
  std::uint64_t seed = 7;
  fault_plan faults = fault_plan::kill_a_trainer;
  std::string folder = "out/demo";
  std::uint64_t sft_steps = 120;
  std::uint64_t grpo_steps = 40;
  std::uint64_t num_held_out = 256;
};

[[nodiscard]] result<demo_report> run_demo(const demo_options& options, progress& shown);

}  // namespace troupe::apps
