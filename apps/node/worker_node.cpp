#include <caf/all.hpp>
#include <caf/openssl/all.hpp>
#include <unistd.h>

#include "actors/node_agent.hpp"
#include "actors/runtime/errors.hpp"
#include "apps/client/network.hpp"
#include "apps/node/roles.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "config/deadlines.hpp"
#include "config/log.hpp"
#include "gpu/make_engine.hpp"
#include "storage/open_store.hpp"

namespace troupe::node {
namespace {

/// Shows itself at the front door; gives the handle that leases are renewed with.
result<actors::job_manager_actor> join(caf::actor_system& system,
                                       const apps::cluster_endpoint& endpoint,
                                       const options& wanted,
                                       const actors::node_agent_actor& agent) {
  const auto door =
      caf::openssl::remote_actor<actors::front_door_actor>(system, endpoint.host, endpoint.port);
  if (!door) {
    return fail(
        errc::peer_lost,
        "cannot reach the control node at " + endpoint.host + ":" + std::to_string(endpoint.port),
        to_string(door.error()), "start the cluster, or restart it");
  }
  attach_request request;
  request.cluster = endpoint.cluster;
  request.join_token = endpoint.join_token;
  request.node.value = wanted.name;
  request.role = wanted.role;
  request.slots = wanted.slots;
  request.process_id = static_cast<std::uint64_t>(::getpid());
  result<actors::job_manager_actor> out = fail(errc::internal, "no answer");
  caf::scoped_actor self(system);
  self->request(*door, deadlines::connect, request, agent)
      .receive(
          [&out](const attach_reply&, const actors::job_manager_actor& manager) { out = manager; },
          [&out](const caf::error& e) { out = fail(actors::from_caf(e)); });
  return out;
}

}  // namespace

result<void> serve_worker(const options& wanted, exit_signal& exit) {
  const auto endpoint = apps::read_cluster_endpoint(wanted.data_folder);
  if (!endpoint) return fail(endpoint.error());
  gpu::engine_options engine;
  engine.device = wanted.device;
  engine.num_threads = wanted.threads;
  engine.compute = wanted.compute;
  const auto engines = gpu::make_engine_factory(engine);
  if (!engines) return fail(engines.error());
  const auto blobs = storage::open_posix_blob_store(endpoint->data_folder);
  if (!blobs) return fail(blobs.error());

  if (auto ok = client::prepare_network(); !ok) return ok;
  client::network_config config(apps::tls_files_of(endpoint->data_folder), 2);
  caf::actor_system system(config);
  actors::node_context context;
  context.node.value = wanted.name;
  context.engines = engines->get();
  context.blobs = blobs->get();
  const auto agent = actors::spawn_node_agent(
      system, context, [&exit](std::string reason) { exit.leave(std::move(reason)); });
  const auto manager =
      join(system, *endpoint, wanted, caf::actor_cast<actors::node_agent_actor>(agent));
  if (!manager) {
    caf::anon_send_exit(agent, caf::exit_reason::user_shutdown);
    return fail(manager.error());
  }
  caf::anon_send(agent, *manager);
  config::log(config::log_level::info, "joined " + endpoint->cluster);
  exit.tell_ready();
  auto reason = exit.wait();
  if (!reason) {
    config::log(config::log_level::info, "asked to leave; handing over");
    caf::anon_send(agent, actors::leave_notice{});
    reason = exit.wait_for_leave();
  }
  config::log(config::log_level::info,
              reason->empty() ? std::string("leaving") : "leaving: " + *reason);
  // Engine work may be under way on a thread of its own; nothing acknowledged depends on its end.
  std::_Exit(reason->empty() ? 0 : 1);
}

}  // namespace troupe::node
