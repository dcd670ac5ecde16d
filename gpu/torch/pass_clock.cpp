#include "gpu/torch/pass_clock.hpp"

#include "gpu/torch/placement.hpp"

namespace troupe::gpu {
namespace {

using clock = std::chrono::steady_clock;

thread_local pass_seconds current;

double seconds_since(clock::time_point begin) {
  return std::chrono::duration<double>(clock::now() - begin).count();
}

}  // namespace

timed_part::timed_part(double pass_seconds::*part) : part_(part), begin_(clock::now()) {}

timed_part::~timed_part() {
  current.*part_ += seconds_since(begin_);
}

pass_clock::pass_clock() : begin_(clock::now()) {
  current = {};
}

void pass_clock::tell(metric_list& metrics) const {
  metrics.emplace_back("pass_seconds:max", seconds_since(begin_));
  metrics.emplace_back("exchange_seconds:max", current.exchanges);
  // A GPU is only told to compute there, and does it later.
  if (current_placement().gpu) return;
  metrics.emplace_back("product_seconds:max", current.products);
  metrics.emplace_back("attention_seconds:max", current.attention);
}

}  // namespace troupe::gpu
