#pragma once

// What one key may use at once, so that a busy client cannot take the gateway from the others:
// requests per second, bytes of requests that have no result yet, and models that hold nodes.
// Heartbeats and polls are free: a client that waits must not look like one that floods.
//
// Threading: the loop's thread. Errors: errc::busy for what passes by itself, errc::no_capacity for
// what the client must change. Units: in the names.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "config/cluster_config.hpp"
#include "messages/error.hpp"

namespace troupe::gateway {

class quota_ledger {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit quota_ledger(config::key_quota quota) : quota_(quota) {}

  /// Counts one request.
  [[nodiscard]] result<void> admit_request(const std::string& key_id, time_point now);

  /// A request that is now under way, until `released`.
  [[nodiscard]] result<void> hold(const std::string& key_id, const std::string& request_id,
                                  std::size_t bytes);
  void released(const std::string& request_id);

  [[nodiscard]] result<void> admit_model(std::size_t num_models) const;

 private:
  struct account {
    double tokens = 0;
    time_point filled;
    std::size_t held_bytes = 0;
  };
  struct holding {
    std::string key_id;
    std::size_t bytes = 0;
  };

  config::key_quota quota_;
  std::map<std::string, account> accounts_;
  std::map<std::string, holding> holdings_;
};

}  // namespace troupe::gateway
