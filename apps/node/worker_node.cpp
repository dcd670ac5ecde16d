#include <caf/all.hpp>
#include <caf/openssl/all.hpp>

#include "actors/node_agent.hpp"
#include "apps/client/network.hpp"
#include "apps/node/machine_memory.hpp"
#include "apps/node/membership.hpp"
#include "apps/node/roles.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "config/log.hpp"
#include "gpu/make_engine.hpp"
#include "storage/open_store.hpp"

namespace troupe::node {

namespace {

/// Before other threads start. A process that computes on a GPU goes where that is.
void choose_memory_nodes(const options& wanted) {
  if (!wanted.stays_near || wanted.device != "cpu") return;
  const auto place = stay_near(wanted.share);
  if (!place) {
    config::log(config::log_level::warning, to_string(place.error()));
  } else if (!place->nodes.empty()) {
    config::log(config::log_level::info,
                "on memory nodes " + place->nodes + ", cores " + place->cores);
  }
}

}  // namespace

result<void> serve_worker(const options& wanted, exit_signal& exit) {
  choose_memory_nodes(wanted);
  const auto endpoint = apps::read_cluster_endpoint(wanted.data_folder);
  if (!endpoint) return fail(endpoint.error());
  gpu::engine_options engine;
  engine.device = wanted.device;
  engine.num_threads = wanted.threads;
  engine.compute = wanted.compute;
  engine.batch_activation_bytes = batch_budget(machine_memory_bytes(), wanted.share.count);
  engine.kept_activation_bytes = wanted.kept_activations_mib * limits::mebibyte;
  engine.slots = wanted.slots;
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
  membership place(system, wanted, exit);
  actors::node_agent_self agent;
  agent =
      actors::spawn_node_agent(system, context,
                               {.leave = [&exit](std::string why) { exit.leave(std::move(why)); },
                                .control_lost = [&place, &agent] { place.find_again(agent); }});
  if (auto joined = place.join(agent, *endpoint); !joined) {
    caf::anon_send_exit(agent, caf::exit_reason::user_shutdown);
    return joined;
  }
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
