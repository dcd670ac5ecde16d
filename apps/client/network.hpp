#pragma once

// How every process of a cluster, and every client, sets up its actor system: TLS with the
// cluster's own authority, heartbeats, no connections made behind its back.
//
// Threading: `prepare_network` once, before the first network_config.

#include <caf/all.hpp>

#include "apps/support/tls_authority.hpp"

namespace troupe::client {

/// Makes the message types known to this process and sets up its TLS library.
[[nodiscard]] result<void> prepare_network();

class network_config : public caf::actor_system_config {
 public:
  network_config(const apps::tls_files& tls, std::size_t scheduler_threads);
};

}  // namespace troupe::client
