#include "storage/core_loop.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

namespace troupe::storage {

namespace {

/// What the threads of one loop share.
class shared_loop {
 public:
  shared_loop(std::size_t count, const std::function<result<void>(std::size_t)>& work)
      : count_(count), work_(work) {}

  void run() noexcept {
    for (std::size_t i = next_++; i < first_failed_; i = next_++) {
      try {
        if (auto ok = work_(i); !ok) failed(i, std::move(ok.error()), nullptr);
      } catch (...) {
        failed(i, std::nullopt, std::current_exception());
      }
    }
  }

  result<void> outcome() {
    if (thrown_) std::rethrow_exception(thrown_);
    if (failure_) return fail(*failure_);
    return {};
  }

 private:
  void failed(std::size_t i, std::optional<error> reason, std::exception_ptr thrown) {
    const std::lock_guard lock(mutex_);
    if (i >= first_failed_) return;
    first_failed_ = i;
    failure_ = std::move(reason);
    thrown_ = std::move(thrown);
  }

  const std::size_t count_;
  const std::function<result<void>(std::size_t)>& work_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> first_failed_{count_};
  std::mutex mutex_;
  std::optional<error> failure_;
  std::exception_ptr thrown_;
};

// Memory and disks bound more cores than these.
constexpr std::size_t threads_max = 8;

std::size_t threads_for(std::size_t count, cores use) {
  if (use == cores::one) return 1;
  const std::size_t available = std::max(1U, std::thread::hardware_concurrency());
  return std::min({count, available, threads_max});
}

}  // namespace

result<void> for_each_index(std::size_t count, cores use,
                            const std::function<result<void>(std::size_t)>& work) {
  shared_loop loop(count, work);
  std::vector<std::jthread> helpers;
  try {
    for (std::size_t t = 1; t < threads_for(count, use); ++t)
      helpers.emplace_back([&loop] { loop.run(); });
  } catch (const std::system_error&) {
    // No more threads: those there are do it all.
  }
  loop.run();
  helpers.clear();
  return loop.outcome();
}

}  // namespace troupe::storage
