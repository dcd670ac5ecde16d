#include "gpu/gather_queue.hpp"

#include <utility>

namespace troupe::gpu {
namespace {

/// The weights and the adapters of one block ahead.
constexpr std::size_t open_max = 2;

}  // namespace

gather_queue::gather_queue(comm& ranks) : ranks_(ranks), thread_([this] { work(); }) {}

gather_queue::~gather_queue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (!open_.empty()) ranks_.abort();
  }
  changed_.notify_all();
  thread_.join();
}

void gather_queue::start(std::span<const float> mine, std::span<float> all) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return open_.size() < open_max; });
  auto after = ranks_.now();
  if (!after) {
    if (!failed_) failed_ = std::move(after.error());
    return;
  }
  open_.push_back({std::move(*after), mine, all});
  changed_.notify_all();
}

result<void> gather_queue::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return open_.empty(); });
  if (failed_) return fail(*failed_);
  return {};
}

void gather_queue::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !open_.empty(); });
    if (stopping_) return;
    const gather next = open_.front();
    const bool is_broken = failed_.has_value();
    lock.unlock();
    result<void> done;
    if (!is_broken) done = ranks_.all_gather_after(next.after, next.mine, next.all);
    lock.lock();
    if (!done) failed_ = std::move(done.error());
    open_.pop_front();
    changed_.notify_all();
  }
}

}  // namespace troupe::gpu
