#pragma once

// Which sample requests of a sampling client have ended, told in batches: one waiting poll in place
// of one for each request. A batch stands between two cursors and is the same whenever it is asked
// for, until the client asks beyond it.
//
// Threading: the loop's thread.
// Invariants: FEED-1 cursors only grow, also over a restart of the gateway.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "apps/gateway/reply.hpp"

namespace troupe::gateway {

class completion_feed {
 public:
  enum class end : std::uint8_t { finished = 0, failed = 1 };

  explicit completion_feed(boost::asio::io_context& loop);

  /// `channel` names a sampling client.
  void ended(const std::string& channel, const std::string& request_id, end how,
             std::size_t result_bytes);

  /// What ended after `cursor`: at once when there is something, else when there is or `patience`
  /// is over.
  void await(const std::string& channel, std::uint64_t cursor, std::chrono::milliseconds patience,
             responder respond);

  /// Channels of a session that has ended.
  void forget(const std::string& session_id);

 private:
  using time_point = std::chrono::steady_clock::time_point;
  struct line {
    std::uint64_t cursor = 0;
    std::string request_id;
    end how = end::finished;
    std::size_t result_bytes = 0;
  };
  struct waiter {
    std::uint64_t cursor = 0;
    time_point until;
    responder respond;
  };
  struct channel_state {
    std::deque<line> lines;
    std::vector<waiter> waiters;
  };

  static void answer(const channel_state& from, const waiter& who);
  void tick();

  std::map<std::string, channel_state> channels_;
  std::uint64_t last_cursor_;
  boost::asio::steady_timer timer_;
};

}  // namespace troupe::gateway
