#include "apps/client/submission_queue.hpp"

#include <utility>

namespace troupe::client {

std::optional<submission> submission_queue::take() {
  if (waiting_.empty()) return std::nullopt;
  submission next = std::move(waiting_.front());
  waiting_.pop_front();
  return next;
}

std::optional<submission> submission_queue::take_beside() {
  if (waiting_.empty() || waiting_.front().phase == pass_phase::whole) return std::nullopt;
  return take();
}

}  // namespace troupe::client
