#include "apps/client/connection.hpp"

#include <mutex>

#include <caf/openssl/all.hpp>
#include <unistd.h>

#include "apps/client/network.hpp"
#include "config/deadlines.hpp"
#include "messages/cluster.hpp"

namespace troupe::client {

struct connection::network {
  explicit network(const apps::cluster_endpoint& endpoint)
      : config(apps::tls_files_of(endpoint.data_folder), 2), system(config) {}

  network_config config;
  caf::actor_system system;
};

connection::connection(const apps::cluster_endpoint& endpoint)
    : network_(std::make_unique<network>(endpoint)), hub_(network_->system.spawn(client::hub)) {}

connection::~connection() {
  caf::anon_send_exit(hub_, caf::exit_reason::user_shutdown);
  hub_ = nullptr;
  manager_ = nullptr;
  store_ = nullptr;
}

result<void> connection::attach(const apps::cluster_endpoint& endpoint) {
  const auto door = caf::openssl::remote_actor<actors::front_door_actor>(
      network_->system, endpoint.host, endpoint.port);
  if (!door) {
    return fail(
        errc::peer_lost,
        "cannot reach the cluster at " + endpoint.host + ":" + std::to_string(endpoint.port),
        "it is not running: " + to_string(door.error()), "start it with `troupe up`");
  }
  attach_request request;
  request.cluster = endpoint.cluster;
  request.join_token = endpoint.join_token;
  request.process_id = static_cast<std::uint64_t>(::getpid());
  request.node.value = "client-" + std::to_string(request.process_id);
  const promise<attach_reply> answer;
  post(hub_, [this, answer, request, to = *door](hub_actor::pointer self) {
    actors::ask(
        self, to, deadlines::connect, request,
        [this, answer](const attach_reply& reply, const actors::job_manager_actor& manager,
                       const actors::checkpoint_store_actor& store) {
          manager_ = manager;
          store_ = store;
          answer.deliver(reply);
        },
        [answer](const error& e) { answer.deliver(fail(e)); });
  });
  const auto reply = answer.get_future().get(deadlines::connect + std::chrono::seconds(1));
  if (!reply) return fail(reply.error());
  storage_root_ = reply->storage_root;
  return {};
}

result<std::shared_ptr<connection>> connection::open(const apps::cluster_endpoint& endpoint) {
  static std::once_flag once;
  static result<void> prepared;
  std::call_once(once, [] { prepared = prepare_network(); });
  if (!prepared) return fail(prepared.error());
  auto link = std::make_shared<connection>(endpoint);
  if (auto ok = link->attach(endpoint); !ok) return fail(ok.error());
  return link;
}

}  // namespace troupe::client
