#include "apps/node/membership.hpp"

#include <condition_variable>
#include <mutex>

#include <unistd.h>

#include "apps/client/front_door_call.hpp"
#include "config/deadlines.hpp"
#include "config/log.hpp"

namespace troupe::node {
namespace {

/// Between two attempts to find a control node that is being started again.
constexpr std::chrono::milliseconds retry_pause{50};

}  // namespace

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
  finder_ = std::jthread([this, agent](const std::stop_token& stop) { search(stop, agent); });
}

void membership::search(const std::stop_token& stop, const actors::node_agent_self& agent) {
  std::mutex mutex;
  std::condition_variable_any pause;
  const auto end = std::chrono::steady_clock::now() + deadlines::capacity;
  result<void> found = fail(errc::peer_lost, "the control node went away");
  while (!stop.stop_requested() && std::chrono::steady_clock::now() < end) {
    const auto endpoint = apps::read_cluster_endpoint(data_folder_);
    found = endpoint ? join(agent, *endpoint, stop) : result<void>(fail(endpoint.error()));
    if (found) return;
    std::unique_lock lock(mutex);
    pause.wait_for(lock, stop, retry_pause, [] { return false; });
  }
  if (!stop.stop_requested()) exit_.leave(to_string(found.error()));
}

}  // namespace troupe::node
