#pragma once

// How to reach a running cluster: the file `<data>/cluster.json`, written by the control node when
// it listens and read by nodes and clients. It holds the join token, so it is for its owner only.
//
// Threading: pure functions over files.
// Errors: errc::not_found when no cluster ever ran on the folder, errc::invalid_argument for a
// damaged file, errc::storage.

#include <cstdint>
#include <string>

#include "messages/error.hpp"

namespace troupe::apps {

struct cluster_endpoint {
  std::string cluster;
  std::string host;
  std::uint16_t port = 0;  ///< 0: not listening yet
  std::string join_token;
  std::string data_folder;  ///< absolute

  bool operator==(const cluster_endpoint&) const = default;
};

[[nodiscard]] result<cluster_endpoint> read_cluster_endpoint(const std::string& data_folder);

/// Replaces the file at once, mode 0600.
[[nodiscard]] result<void> write_cluster_endpoint(const cluster_endpoint& endpoint);

}  // namespace troupe::apps
