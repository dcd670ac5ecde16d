#pragma once

// The one actor that is published: who reaches the port and holds a certificate of the cluster must
// still name the right cluster, protocol version and join token before it gets a handle to
// anything.
//
// Owner: node main. Deadline: connect. Threading: an actor, never blocks.
// Errors: errc::protocol (another version), errc::fenced (another cluster or a wrong token).

#include <string>

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

struct front_door_config {
  attach_reply welcome;
  std::string join_token;
  job_manager_actor manager;
  checkpoint_store_actor store;
};

class front_door_state {
 public:
  static constexpr const char* name = "front_door";

  front_door_state(front_door_actor::pointer self, front_door_config config);
  front_door_actor::behavior_type make_behavior();

 private:
  [[nodiscard]] caf::error refuse(const attach_request& request) const;

  front_door_actor::pointer self_;
  front_door_config config_;
};

[[nodiscard]] front_door_actor spawn_front_door(caf::actor_system& system,
                                                front_door_config config);

}  // namespace troupe::actors
