#include "apps/client/front_door_call.hpp"

namespace troupe::client {

result<actors::front_door_actor> find_front_door(caf::actor_system& system,
                                                 const apps::cluster_endpoint& endpoint) {
  const auto door =
      caf::openssl::remote_actor<actors::front_door_actor>(system, endpoint.host, endpoint.port);
  if (door) return *door;
  return fail(errc::peer_lost,
              "cannot reach the cluster at " + endpoint.host + ":" + std::to_string(endpoint.port),
              "it is not running: " + to_string(door.error()), "start it with `troupe up`");
}

}  // namespace troupe::client
