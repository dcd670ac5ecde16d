#pragma once

// When a run takes its next snapshot. Snapshots cost time while nothing is lost, and save replay
// when something is: the interval that costs least is sqrt(2 * cost * time between losses), both
// as observed.
//
// Units: seconds of a monotonic clock. Threading: plain values.
// Source: Young, A first order approximation to the optimum checkpoint interval (1974).

#include <cstdint>

namespace troupe::logic {

class snapshot_pace {
 public:
  /// 0 steps: by cost and losses; else exactly every so many steps.
  snapshot_pace(std::uint64_t every_steps, double now_s);

  /// After the commit of step number `step`.
  [[nodiscard]] bool is_due(std::uint64_t step, double now_s) const;

  void taken(std::uint64_t step, double now_s);
  /// What the last one took from the ops beside it: they wait for the copy, or share the machine
  /// with it.
  void cost(double seconds);
  void lost(double now_s);

  [[nodiscard]] double interval_s() const;

 private:
  std::uint64_t every_steps_;
  std::uint64_t last_step_ = 0;
  double last_taken_s_;
  double last_lost_s_;
  double cost_s_;
  double between_losses_s_;
};

}  // namespace troupe::logic
