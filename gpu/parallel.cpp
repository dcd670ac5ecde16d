#include "gpu/parallel.hpp"

#include <algorithm>

namespace troupe::gpu {
namespace {

thread_local thread_pool* current_pool = nullptr;

/// Looks for work before a thread sleeps: about the length of the pause between two loops.
constexpr int polls_before_sleep = 100;

/// Pieces per thread; more of them even out what other processes take away.
constexpr std::size_t pieces_per_thread = 8;

}  // namespace

struct thread_pool::loop {
  std::size_t count;
  std::size_t step;
  const piece_body& body;
  std::atomic<std::size_t> next{0};
  std::size_t num_users = 0;     ///< workers inside; guarded by the pool
  std::exception_ptr exception;  ///< guarded by the pool

  void take_pieces() {
    for (;;) {
      const std::size_t begin = next.fetch_add(step);
      if (begin >= count) return;
      body(begin, std::min(count, begin + step));
    }
  }
};

thread_pool::thread_pool(std::size_t num_threads) {
  for (std::size_t i = 1; i < num_threads; ++i)
    workers_.emplace_back([this] { work(); });
}

thread_pool::~thread_pool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  news_.notify_all();
  for (std::thread& worker : workers_)
    worker.join();
}

bool thread_pool::has_news(std::uint64_t seen) const {
  return stopping_.load() || generation_.load() != seen;
}

void thread_pool::work() {
  std::uint64_t seen = 0;
  for (;;) {
    for (int poll = 0; poll < polls_before_sleep && !has_news(seen); ++poll)
      std::this_thread::yield();
    std::unique_lock lock(mutex_);
    news_.wait(lock, [&] { return has_news(seen); });
    if (stopping_.load()) return;
    seen = generation_.load();
    loop* const mine = current_;
    if (mine == nullptr) continue;
    ++mine->num_users;
    lock.unlock();
    std::exception_ptr exception;
    try {
      mine->take_pieces();
    } catch (...) {
      exception = std::current_exception();
    }
    lock.lock();
    if (exception) mine->exception = exception;
    if (--mine->num_users == 0) quiet_.notify_one();
  }
}

void thread_pool::run(std::size_t count, std::size_t grain, const piece_body& body) {
  const std::size_t threads = workers_.size() + 1;
  const std::size_t step = std::max({std::size_t{1}, grain, count / (threads * pieces_per_thread)});
  // A nested loop and another engine's loop find the pool busy.
  if (count <= step || workers_.empty() || is_busy_.exchange(true)) {
    if (count > 0) body(0, count);
    return;
  }
  loop job{count, step, body, {}, 0, nullptr};
  {
    const std::lock_guard lock(mutex_);
    current_ = &job;
    generation_.fetch_add(1);
  }
  news_.notify_all();
  std::exception_ptr exception;
  try {
    job.take_pieces();
  } catch (...) {
    exception = std::current_exception();
    job.next.store(count);
  }
  std::unique_lock lock(mutex_);
  current_ = nullptr;
  quiet_.wait(lock, [&] { return job.num_users == 0; });
  is_busy_.store(false);
  if (!exception) exception = job.exception;
  if (exception) std::rethrow_exception(exception);
}

pool_scope::pool_scope(thread_pool* pool) : outer_(current_pool) {
  current_pool = pool;
}

pool_scope::~pool_scope() {
  current_pool = outer_;
}

void for_ranges(std::size_t count, std::size_t grain, const thread_pool::piece_body& body) {
  if (current_pool != nullptr) {
    current_pool->run(count, grain, body);
  } else if (count > 0) {
    body(0, count);
  }
}

}  // namespace troupe::gpu
