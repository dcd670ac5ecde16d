#pragma once

// Clients that are attached: one session per client process, kept alive by anything it sends. Each
// is a small file too, `<folder>/<session>.json`, so that a gateway that is started again knows
// whom it serves, and gives back the nodes of clients that never come back.
//
// Threading: the loop's thread.
// Errors: errc::not_found for sessions of other keys and for ended ones; errc::busy; errc::storage.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "messages/error.hpp"

namespace troupe::gateway {

struct session {
  std::string key_id;
  std::chrono::steady_clock::time_point last_seen;
  bool has_ended = false;
  std::uint64_t created_unix_ms = 0;
  boost::json::object client;  ///< what it said of itself: user_metadata, tags, names
  boost::json::object ending;  ///< {"type", "detail"}, as the client said; empty: it went silent
};

class session_table {
 public:
  explicit session_table(std::string folder);

  [[nodiscard]] result<std::string> open(const std::string& key_id, boost::json::object client);

  /// The session named by any id of its own.
  [[nodiscard]] result<session*> find(const std::string& key_id, const std::string& id);

  /// Ended ones, too; none of other keys.
  [[nodiscard]] const session* known(const std::string& key_id, const std::string& id) const;

  /// False when it had ended before.
  bool end(const std::string& id, boost::json::object ending);

  /// Of a session that is known.
  [[nodiscard]] result<void> set_project(const std::string& id, const std::string& project);

  /// Sessions that were silent for too long.
  [[nodiscard]] std::vector<std::string> silent() const;

  /// Newest first.
  [[nodiscard]] std::vector<std::string> of_key(const std::string& key_id) const;
  [[nodiscard]] std::size_t num_live() const;
  /// Of the living session that said nothing for longest.
  [[nodiscard]] double longest_silence_seconds() const;

 private:
  void load();
  void forget_old();
  [[nodiscard]] std::string path_of(const std::string& id) const;
  [[nodiscard]] result<void> write(const std::string& id) const;

  std::string folder_;
  std::map<std::string, session> sessions_;
};

}  // namespace troupe::gateway
