#include "apps/client/front_door_call.hpp"

#include <condition_variable>
#include <mutex>

namespace troupe::client {
namespace {

/// Between two attempts to find a control node that is being started again.
constexpr std::chrono::milliseconds retry_pause{50};

}  // namespace

result<actors::front_door_actor> find_front_door(caf::actor_system& system,
                                                 const apps::cluster_endpoint& endpoint) {
  const auto door =
      caf::openssl::remote_actor<actors::front_door_actor>(system, endpoint.host, endpoint.port);
  if (door) return *door;
  return fail(errc::peer_lost,
              "cannot reach the cluster at " + endpoint.host + ":" + std::to_string(endpoint.port),
              "it is not running: " + to_string(door.error()), "start it with `troupe up`");
}

result<void> search_cluster(
    const std::string& data_folder, std::chrono::milliseconds deadline, const std::stop_token& stop,
    const std::function<result<void>(const apps::cluster_endpoint&)>& attempt) {
  std::mutex mutex;
  std::condition_variable_any pause;
  const auto end = std::chrono::steady_clock::now() + deadline;
  for (;;) {
    if (stop.stop_requested()) return fail(errc::cancelled, "the search was stopped");
    const auto endpoint = apps::read_cluster_endpoint(data_folder);
    auto found = endpoint ? attempt(*endpoint) : result<void>(fail(endpoint.error()));
    if (found || std::chrono::steady_clock::now() >= end) return found;
    std::unique_lock lock(mutex);
    pause.wait_for(lock, stop, retry_pause, [] { return false; });
  }
}

}  // namespace troupe::client
