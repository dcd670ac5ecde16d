#pragma once

// Clients that are attached: one session per client process, kept alive by anything it sends.
//
// Threading: the loop's thread.
// Errors: errc::not_found for sessions of other keys and for ended ones; errc::busy.

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "messages/error.hpp"

namespace troupe::gateway {

struct session {
  std::string key_id;
  std::chrono::steady_clock::time_point last_seen;
  bool has_ended = false;
};

class session_table {
 public:
  [[nodiscard]] result<std::string> open(const std::string& key_id);

  /// The session named by any id of its own; unknown ones of the right owner come back to life,
  /// because the gateway may have been restarted meanwhile.
  [[nodiscard]] result<session*> find(const std::string& key_id, const std::string& id);

  /// False when it had ended before.
  bool end(const std::string& id);

  /// Sessions that were silent for too long; they are ended by this call.
  [[nodiscard]] std::vector<std::string> end_silent();

  [[nodiscard]] std::vector<std::string> of_key(const std::string& key_id) const;
  [[nodiscard]] std::size_t num_live() const;

 private:
  std::map<std::string, session> sessions_;
};

}  // namespace troupe::gateway
