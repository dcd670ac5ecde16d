#pragma once

// Results that clients fetch by id. A client asks at once and waits: the answer is pushed to every
// waiting poll in the moment it is there, and "not yet" is said before the client's own patience
// ends. A result can be fetched again, because an answer may be lost on the way. A client that was
// told "not yet" asks again at once: when it does not, for as long as two polls last, it has gone,
// and whoever works for it is told.
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
#include "config/deadlines.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {

class future_table {
 public:
  /// Who keeps results beyond this process.
  struct listener {
    std::function<void(const std::string& request_id, const reply& value)> resolved;
    std::function<void(const std::string& request_id)> forgotten;
  };

  /// `patience`: of a poll.
  explicit future_table(boost::asio::io_context& loop,
                        std::chrono::milliseconds patience = deadlines::long_poll);

  void listen(listener who) { listener_ = std::move(who); }

  /// Called with results that were asked for once and are asked for no more.
  void on_abandoned(std::function<void(const std::string& request_id)> call) {
    abandoned_ = std::move(call);
  }

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
    std::string request_id;
    responder respond;  ///< empty once answered
    time_point until;
  };
  struct entry {
    std::string key_id;
    std::shared_ptr<const reply> value;
    std::vector<std::shared_ptr<waiter>> waiters;
    time_point unattended_since = {};  ///< the end of its last poll that got no result
  };

  void tick();
  void end_patience(time_point now);
  void tell_abandoned(time_point now);
  void answer(waiter& who, const reply& value);
  bool erase(const std::string& request_id);

  boost::asio::steady_timer timer_;
  std::chrono::milliseconds patience_of_polls_;
  listener listener_;
  std::function<void(const std::string&)> abandoned_;
  std::unordered_map<std::string, entry> entries_;
  shared_room room_{limits::gateway_futures_max};
  std::deque<std::shared_ptr<waiter>> patience_;  ///< in order of their end
  std::deque<std::pair<std::string, time_point>> unattended_;
  std::deque<std::pair<std::string, time_point>> resolved_;
  std::size_t num_open_ = 0;
  std::size_t num_waiting_ = 0;
};

}  // namespace troupe::gateway
