#include "actors/logic/snapshot_pace.hpp"

#include <algorithm>
#include <cmath>

namespace troupe::logic {
namespace {

/// Before anything was observed: a small model on preemptible machines.
constexpr double first_cost_s = 0.01;
constexpr double first_between_losses_s = 120;

/// However rare losses are, a recovery repeats no more than this.
constexpr std::uint64_t steps_max = 1000;

}  // namespace

snapshot_pace::snapshot_pace(std::uint64_t every_steps, double now_s)
    : every_steps_(every_steps),
      last_taken_s_(now_s),
      last_lost_s_(now_s),
      cost_s_(first_cost_s),
      between_losses_s_(first_between_losses_s) {}

double snapshot_pace::interval_s() const {
  return std::sqrt(2 * cost_s_ * between_losses_s_);
}

bool snapshot_pace::is_due(std::uint64_t step, double now_s) const {
  if (every_steps_ > 0) return step % every_steps_ == 0;
  const double between = std::max(between_losses_s_, now_s - last_lost_s_);
  return step - last_step_ >= steps_max ||
         now_s - last_taken_s_ >= std::sqrt(2 * cost_s_ * between);
}

void snapshot_pace::taken(std::uint64_t step, double now_s) {
  last_step_ = step;
  last_taken_s_ = now_s;
}

void snapshot_pace::cost(double seconds) {
  cost_s_ = (cost_s_ + std::max(seconds, 0.001)) / 2;
}

void snapshot_pace::lost(double now_s) {
  const double gap = now_s - last_lost_s_;
  between_losses_s_ = std::max((between_losses_s_ + gap) / 2, 1.0);
  last_lost_s_ = now_s;
}

}  // namespace troupe::logic
