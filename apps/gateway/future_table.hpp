#pragma once

// Results that clients fetch by id. A client asks at once and waits: the answer is pushed to every
// waiting poll in the moment it is there, and "not yet" is said before the client's own patience
// ends. A result can be fetched again, because an answer may be lost on the way.
//
// Threading: the loop's thread.
// Invariants: FUTURE-1 an id answers only the key that made it. FUTURE-2 a result never changes.

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "apps/gateway/reply.hpp"
#include "apps/gateway/shared_room.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {

class future_table {
 public:
  /// Who keeps results beyond this process.
  struct listener {
    std::function<void(const std::string& request_id, const reply& value)> resolved;
    std::function<void(const std::string& request_id)> forgotten;
  };

  explicit future_table(boost::asio::io_context& loop);

  void listen(listener who) { listener_ = std::move(who); }

  /// A new unguessable id; errc::busy when the key has what it may.
  [[nodiscard]] result<std::string> open(const std::string& key_id);
  void resolve(const std::string& request_id, reply value);
  /// Of an id that was told to nobody.
  void drop(const std::string& request_id);
  /// One of an earlier process.
  void restore(const std::string& request_id, const std::string& key_id,
               const std::optional<reply>& value);

  /// Answers when the result is there, or 408 after a while. Unknown ids are answered with 410:
  /// clients then submit samples again.
  void retrieve(const std::string& request_id, const std::string& key_id, responder respond);

  [[nodiscard]] bool is_of(const std::string& request_id, const std::string& key_id) const;

  [[nodiscard]] std::size_t num_open() const { return num_open_; }
  [[nodiscard]] std::size_t num_waiting() const { return num_waiting_; }

 private:
  using time_point = std::chrono::steady_clock::time_point;
  struct waiter {
    responder respond;  ///< empty once answered
    time_point until;
  };
  struct entry {
    std::string key_id;
    std::shared_ptr<const reply> value;
    std::vector<std::shared_ptr<waiter>> waiters;
  };

  void tick();
  void answer(waiter& who, const reply& value);
  bool erase(const std::string& request_id);

  boost::asio::steady_timer timer_;
  listener listener_;
  std::unordered_map<std::string, entry> entries_;
  shared_room room_{limits::gateway_futures_max};
  std::deque<std::shared_ptr<waiter>> patience_;  ///< in order of their end
  std::deque<std::pair<std::string, time_point>> resolved_;
  std::size_t num_open_ = 0;
  std::size_t num_waiting_ = 0;
};

}  // namespace troupe::gateway
