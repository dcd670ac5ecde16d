#include "apps/client/network.hpp"

#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

#include "apps/client/hub.hpp"

namespace troupe::client {

result<void> prepare_network() {
  caf::init_global_meta_objects<caf::id_block::troupe>();
  caf::init_global_meta_objects<caf::id_block::troupe_client>();
  caf::openssl::manager::init_global_meta_objects();
  caf::io::middleman::init_global_meta_objects();
  caf::core::init_global_meta_objects();
  return apps::tolerate_killed_peers();
}

network_config::network_config(const apps::tls_files& tls, std::size_t scheduler_threads) {
  load<caf::io::middleman>();
  load<caf::openssl::manager>();
  set("caf.scheduler.policy", "sharing");
  set("caf.scheduler.max-threads", scheduler_threads);
  set("caf.middleman.workers", 1);
  set("caf.middleman.heartbeat-interval", caf::timespan(std::chrono::seconds(2)));
  set("caf.middleman.connection-timeout", caf::timespan(std::chrono::seconds(30)));
  set("caf.logger.console.verbosity", "quiet");
  openssl_cafile = tls.authority;
  openssl_certificate = tls.certificate;
  openssl_key = tls.key;
}

}  // namespace troupe::client
