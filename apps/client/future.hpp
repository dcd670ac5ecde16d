#pragma once

// The answer of an operation that is under way. A loop submits many and waits for each when it
// needs it; waiting always has a deadline.
//
// Threading: a future may be copied and waited on from any thread.
// Errors: errc::timeout when the deadline passes; the operation itself goes on.

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "messages/error.hpp"

namespace troupe::client {

template <class T>
class promise;

template <class T>
class future {
 public:
  [[nodiscard]] result<T> get(std::chrono::milliseconds deadline) const {
    std::unique_lock lock(state_->mutex);
    if (!state_->ready.wait_for(lock, deadline, [this] { return state_->value.has_value(); })) {
      return fail(errc::timeout, "no answer before the deadline", "the cluster is busy or gone",
                  "look at `troupe status`; waiting again is safe");
    }
    return *state_->value;
  }

 private:
  friend class promise<T>;
  struct shared_state {
    std::mutex mutex;
    std::condition_variable ready;
    std::optional<result<T>> value;
  };
  explicit future(std::shared_ptr<shared_state> state) : state_(std::move(state)) {}

  std::shared_ptr<shared_state> state_;
};

/// The other end. The first delivery counts; copies share one answer.
template <class T>
class promise {
 public:
  [[nodiscard]] future<T> get_future() const { return future<T>(state_); }

  void deliver(result<T> value) const {
    {
      const std::lock_guard lock(state_->mutex);
      if (state_->value) return;
      state_->value = std::move(value);
    }
    state_->ready.notify_all();
  }

 private:
  std::shared_ptr<typename future<T>::shared_state> state_ =
      std::make_shared<typename future<T>::shared_state>();
};

}  // namespace troupe::client
