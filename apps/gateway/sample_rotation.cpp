#include "apps/gateway/sample_rotation.hpp"

namespace troupe::gateway {

void sample_rotation::switched(std::string weights) {
  live_ = std::move(weights);
  is_switching_ = false;
  is_fresh_ = true;
}

bool sample_rotation::withdraw(std::uint64_t job) {
  return std::erase_if(waiting_, [job](const auto& entry) { return entry.second == job; }) > 0;
}

std::vector<std::uint64_t> sample_rotation::take(const std::string& weights) {
  std::vector<std::uint64_t> out;
  std::deque<std::pair<std::string, std::uint64_t>> rest;
  for (auto& entry : waiting_) {
    if (entry.first == weights) {
      out.push_back(entry.second);
    } else {
      rest.push_back(std::move(entry));
    }
  }
  waiting_ = std::move(rest);
  return out;
}

std::vector<std::uint64_t> sample_rotation::switch_failed(const std::string& weights) {
  is_switching_ = false;
  live_.reset();
  return take(weights);
}

sample_rotation::decision sample_rotation::next() {
  decision out;
  if (is_switching_ || waiting_.empty()) return out;
  if (std::exchange(is_fresh_, false)) {
    out.start = take(*live_);
  } else {
    while (!waiting_.empty() && live_ == waiting_.front().first) {
      out.start.push_back(waiting_.front().second);
      waiting_.pop_front();
    }
  }
  num_running_ += out.start.size();
  if (out.start.empty() && num_running_ == 0) {
    is_switching_ = true;
    out.switch_to = waiting_.front().first;
  }
  return out;
}

}  // namespace troupe::gateway
