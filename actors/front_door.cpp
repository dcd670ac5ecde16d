#include "actors/front_door.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"
#include "config/deadlines.hpp"

namespace troupe::actors {
namespace {

/// Takes the same time wherever the two differ.
bool same_secret(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

}  // namespace

front_door_state::front_door_state(front_door_actor::pointer self, front_door_config config)
    : self_(self), config_(std::move(config)) {}

caf::error front_door_state::refuse(const attach_request& request) const {
  if (request.protocol != protocol_version) {
    return to_caf({errc::protocol,
                   "the node speaks protocol " + std::to_string(request.protocol) +
                       ", the cluster " + std::to_string(protocol_version),
                   "two versions of Troupe meet", "install the same version everywhere"});
  }
  if (request.cluster != config_.welcome.cluster ||
      !same_secret(request.join_token, config_.join_token)) {
    return to_caf({errc::fenced,
                   "this is not cluster '" + request.cluster + "', or the token is wrong",
                   "another cluster listens on this port", "check the data folder you gave"});
  }
  return {};
}

front_door_actor::behavior_type front_door_state::make_behavior() {
  return {
      [this](const attach_request& r)
          -> caf::result<attach_reply, job_manager_actor, checkpoint_store_actor> {
        if (auto refused = refuse(r)) return refused;
        auto promise =
            self_->make_response_promise<attach_reply, job_manager_actor, checkpoint_store_actor>();
        promise.deliver(config_.welcome, config_.manager, config_.store);
        return promise;
      },
      [this](const attach_request& r,
             const node_agent_actor& agent) -> caf::result<attach_reply, job_manager_actor> {
        if (auto refused = refuse(r)) return refused;
        auto promise = self_->make_response_promise<attach_reply, job_manager_actor>();
        self_->request(config_.manager, deadlines::control, r, agent)
            .then([this, promise](
                      const done&) mutable { promise.deliver(config_.welcome, config_.manager); },
                  [promise](const caf::error& e) mutable { promise.deliver(e); });
        return promise;
      },
  };
}

front_door_actor spawn_front_door(caf::actor_system& system, front_door_config config) {
  using impl = caf::stateful_actor<front_door_state, front_door_actor::impl>;
  return system.spawn<impl>(std::move(config));
}

}  // namespace troupe::actors
