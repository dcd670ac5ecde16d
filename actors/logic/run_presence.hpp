#pragma once

// Which runs nobody uses any more. A run belongs to the client that made it or took it over last;
// once that has gone, and no op was committed for a while, its nodes could serve others.
//
// A run that was brought back by a restarted control node has no client until one takes it over.
//
// Threading: a plain value, one owner. Units: milliseconds of the caller's steady clock.
// Invariants: PRESENCE-1 a run whose client is there is never idle, however long it asks nothing.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "messages/ids.hpp"

namespace troupe::logic {

class run_presence {
 public:
  /// The run came without a client.
  void unattended(const run_id& run, std::uint64_t now_ms);
  /// From now on the run belongs to this client alone.
  void attended(const run_id& run, const std::string& client);
  void left(const std::string& client, std::uint64_t now_ms);
  /// An op of the run was committed: whoever asked for it was there a moment ago.
  void worked(const run_id& run, std::uint64_t now_ms);

  /// Runs without a client and without an op for so long.
  [[nodiscard]] std::vector<run_id> idle(std::uint64_t now_ms, std::uint64_t after_ms) const;

 private:
  struct attendance {
    std::string client;
    std::optional<std::uint64_t> alone_since_ms;  ///< nothing: the client is there
  };

  std::map<run_id, attendance> runs_;
};

}  // namespace troupe::logic
