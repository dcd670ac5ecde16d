#include "apps/node/membership.hpp"

#include <unistd.h>

#include "apps/client/front_door_call.hpp"
#include "config/log.hpp"

namespace troupe::node {

membership::membership(caf::actor_system& system, const options& wanted, exit_signal& exit)
    : system_(system), data_folder_(wanted.data_folder), exit_(exit) {
  request_.node.value = wanted.name;
  request_.role = wanted.role;
  request_.slots = wanted.slots;
  request_.process_id = static_cast<std::uint64_t>(::getpid());
}

result<void> membership::join(const actors::node_agent_self& agent,
                              const apps::cluster_endpoint& endpoint, const std::stop_token& stop) {
  attach_request request = request_;
  request.cluster = endpoint.cluster;
  request.join_token = endpoint.join_token;
  auto joined = client::ask_front_door<attach_reply, actors::job_manager_actor>(
      system_, endpoint, stop, request, caf::actor_cast<actors::node_agent_actor>(agent));
  if (!joined) return fail(joined.error());
  config::log(config::log_level::info, "joined " + endpoint.cluster);
  caf::anon_send(agent, std::get<actors::job_manager_actor>(*joined));
  return {};
}

void membership::find_again(const actors::node_agent_self& agent) {
  config::log(config::log_level::warning, "the control node went away; looking for the next one");
  finder_ = std::jthread([this, agent](const std::stop_token& stop) {
    const auto found = client::search_cluster(
        data_folder_, deadlines::capacity, stop,
        [&](const apps::cluster_endpoint& endpoint) { return join(agent, endpoint, stop); });
    if (!found && !stop.stop_requested()) exit_.leave(to_string(found.error()));
  });
}

}  // namespace troupe::node
