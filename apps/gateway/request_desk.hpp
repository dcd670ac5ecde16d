#pragma once

// The two steps that every request with a future goes through: find its repeat, or open a future
// and acknowledge it. What must survive the gateway is also logged, and a new gateway calls the
// handlers of what has no result yet once more, as if it had just arrived.
//
// Threading: the loop's thread; `place::placed` from any.
// Invariants: DESK-1 a repeat gets the first one's acknowledgement and starts nothing again.

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "apps/gateway/future_table.hpp"
#include "apps/gateway/quota_ledger.hpp"
#include "apps/gateway/request_log.hpp"
#include "apps/gateway/router.hpp"

namespace troupe::gateway {

/// Samples are drawn again by their client when a gateway dies; nobody else repeats an operation.
enum class keeping : std::uint8_t { in_memory = 0, on_disk = 1 };

class request_desk {
 public:
  using starter = std::function<void(const std::string& request_id)>;

  request_desk(future_table& futures, quota_ledger& quotas, std::string log_folder);

  /// The reply to a request that is answered by a future. `repeat_key` is what identifies a repeat;
  /// its body must be the same. A new request gets an id, `extra` beside it, and `start` is called
  /// with the id after the acknowledgement was made.
  [[nodiscard]] reply take(const call& from, const std::string& repeat_key, keeping where,
                           const boost::json::object& extra, const starter& start);

  [[nodiscard]] run_place place_of(const std::string& request_id) {
    return log_.place_of(request_id);
  }

  /// It was taken with keeping::on_disk.
  [[nodiscard]] bool is_logged(const std::string& request_id) { return log_.knows(request_id); }

  /// Takes over what an earlier gateway left.
  [[nodiscard]] result<void> restore(router& routes);

 private:
  struct repeat {
    std::string digest;
    std::string acknowledgement;
    std::string to_start;  ///< the request's id while its handler was not called yet
  };

  [[nodiscard]] reply take_again(repeat& known, const std::string& digest, const starter& start);
  void remember(const std::string& repeat_key, repeat entry);
  void start_again(router& routes, const logged_request& request);

  future_table& futures_;
  quota_ledger& quotas_;
  request_log log_;
  std::unordered_map<std::string, repeat> repeats_;
  std::deque<std::string> repeat_order_;
};

}  // namespace troupe::gateway
