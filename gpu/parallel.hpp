#pragma once

// Loops over all cores a process may use. Pieces are handed out as threads ask for them, and a
// caller never waits for a thread that has not begun: on machines where many processes share few
// cores, a fixed split would make every loop as slow as its unluckiest thread.
//
// An engine enters its pool with a pool_scope; loops below it find it there. Without a scope, or
// while another engine of the process uses the pool, a loop runs on its caller alone. No result may
// depend on how a loop was cut.
//
// In a scope and on the threads of a pool, denormal numbers are zero: some processors take a
// hundred times as long for an operation with one, and a softmax over many far candidates is full
// of them.
//
// Threading: a pool may be entered from several threads. Errors: an exception of a piece is thrown
// again to the loop's caller, once all its pieces have ended.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace troupe::gpu {

class thread_pool {
 public:
  using piece_body = std::function<void(std::size_t, std::size_t)>;

  /// The caller of a loop is one of the threads. Requires: num_threads >= 1.
  explicit thread_pool(std::size_t num_threads);
  ~thread_pool();
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  [[nodiscard]] std::size_t num_threads() const { return workers_.size() + 1; }

  /// body(begin, end) over [0, count), in pieces of at least `grain` but the last.
  void run(std::size_t count, std::size_t grain, const piece_body& body);

 private:
  struct loop;

  void work();
  void call_workers();

  std::atomic<bool> is_busy_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<loop*> current_{nullptr};
  std::atomic<std::uint32_t> generation_{0};  ///< of calls
  std::atomic<std::uint32_t> num_users_{0};   ///< workers that may hold the current loop
  std::vector<std::thread> workers_;
};

/// Makes `pool` (or none, when null) the one that loops on this thread use, and denormal numbers
/// zero until it ends.
class pool_scope {
 public:
  explicit pool_scope(thread_pool* pool);
  ~pool_scope();
  pool_scope(const pool_scope&) = delete;
  pool_scope& operator=(const pool_scope&) = delete;

 private:
  thread_pool* outer_;
  std::uint32_t outer_rounding_;
};

/// Of the pool of this thread's scope.
[[nodiscard]] std::size_t pool_threads();

/// body(begin, end) over [0, count) on the pool of this thread's scope.
void for_ranges(std::size_t count, std::size_t grain, const thread_pool::piece_body& body);

}  // namespace troupe::gpu
