#include "gpu/parallel.hpp"

#include <algorithm>
#include <exception>
#include <mutex>

namespace troupe::gpu {
namespace {

thread_local thread_pool* current_pool = nullptr;

/// How often a thread looks before it sleeps: about the length of the pause between two loops.
constexpr int looks_with_pauses = 100;
constexpr int looks_with_yields = 50;
constexpr int pauses_per_look = 8;

/// Pieces per thread; more of them even out what other processes take away.
constexpr std::size_t pieces_per_thread = 8;

void pause_thread() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

#if defined(__x86_64__)
/// Flush-to-zero of results, denormals-are-zero of operands.
constexpr std::uint32_t flush_bits = 0x8040;

std::uint32_t flush_denormals() {
  const std::uint32_t before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | flush_bits);
  return before;
}

void restore_rounding(std::uint32_t before) {
  __builtin_ia32_ldmxcsr(before);
}
#else
std::uint32_t flush_denormals() {
  return 0;
}

void restore_rounding(std::uint32_t) {}
#endif

/// To wake a thread takes longer than most loops do. Pauses leave the core to its sibling, yields
/// to whoever waits for it.
template <class Condition>
bool soon(const Condition& condition) {
  for (int look = 0; look < looks_with_pauses; ++look) {
    if (condition()) return true;
    for (int i = 0; i < pauses_per_look; ++i)
      pause_thread();
  }
  for (int look = 0; look < looks_with_yields; ++look) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return condition();
}

}  // namespace

struct thread_pool::loop {
  std::size_t count;
  std::size_t step;
  const piece_body& body;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr exception;  ///< guarded by the mutex

  void take_pieces() {
    try {
      for (;;) {
        const std::size_t begin = next.fetch_add(step);
        if (begin >= count) return;
        body(begin, std::min(count, begin + step));
      }
    } catch (...) {
      next.store(count);
      const std::lock_guard lock(mutex);
      exception = std::current_exception();
    }
  }
};

thread_pool::thread_pool(std::size_t num_threads) {
  for (std::size_t i = 1; i < num_threads; ++i)
    workers_.emplace_back([this] { work(); });
}

thread_pool::~thread_pool() {
  stopping_.store(true);
  call_workers();
  for (std::thread& worker : workers_)
    worker.join();
}

void thread_pool::call_workers() {
  generation_.fetch_add(1);
  generation_.notify_all();
}

void thread_pool::work() {
  (void)flush_denormals();
  std::uint32_t seen = 0;
  for (;;) {
    if (!soon([&] { return generation_.load() != seen; })) generation_.wait(seen);
    if (stopping_.load()) return;
    seen = generation_.load();
    // Counted before it looks: whoever takes the loop away afterwards sees it and waits.
    num_users_.fetch_add(1);
    if (loop* const mine = current_.load()) mine->take_pieces();
    if (num_users_.fetch_sub(1) == 1) num_users_.notify_one();
  }
}

void thread_pool::run(std::size_t count, std::size_t grain, const piece_body& body) {
  const std::size_t step =
      std::max({std::size_t{1}, grain, count / (num_threads() * pieces_per_thread)});
  // A nested loop and another engine's loop find the pool busy.
  if (count <= step || workers_.empty() || is_busy_.exchange(true)) {
    if (count > 0) body(0, count);
    return;
  }
  loop job{count, step, body, {}, {}, nullptr};
  current_.store(&job);
  call_workers();
  job.take_pieces();
  current_.store(nullptr);
  // They have no more than a piece to end.
  (void)soon([&] { return num_users_.load() == 0; });
  for (std::uint32_t users = num_users_.load(); users != 0; users = num_users_.load())
    num_users_.wait(users);
  is_busy_.store(false);
  if (job.exception) std::rethrow_exception(job.exception);
}

pool_scope::pool_scope(thread_pool* pool)
    : outer_(current_pool), outer_rounding_(flush_denormals()) {
  current_pool = pool;
}

pool_scope::~pool_scope() {
  restore_rounding(outer_rounding_);
  current_pool = outer_;
}

std::size_t pool_threads() {
  return current_pool == nullptr ? 1 : current_pool->num_threads();
}

void for_ranges(std::size_t count, std::size_t grain, const thread_pool::piece_body& body) {
  if (current_pool != nullptr) {
    current_pool->run(count, grain, body);
  } else if (count > 0) {
    body(0, count);
  }
}

}  // namespace troupe::gpu
