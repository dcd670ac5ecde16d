#pragma once

// One request to a cluster's front door, from a thread. CAF may answer a connect with the handle of
// a process that has just died, and a request to it would wait for its whole deadline: so whoever
// is asked is watched, too. Clients and nodes that lost their control node look for the next one
// here.
//
// Threading: any thread; a call blocks for deadlines::connect and a second at most, a search for
// its deadline and a call. Errors: errc::peer_lost when there is no front door or it goes away;
// errc::cancelled after a stop; what the door refuses.

#include <functional>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>

#include <caf/all.hpp>
#include <caf/openssl/all.hpp>

#include "actors/protocol/type_ids.hpp"
#include "actors/runtime/errors.hpp"
#include "apps/client/future.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "config/deadlines.hpp"

namespace troupe::client {

[[nodiscard]] result<actors::front_door_actor> find_front_door(
    caf::actor_system& system, const apps::cluster_endpoint& endpoint);

/// Calls `attempt` with what the cluster's endpoint file says, again and again, until it succeeds
/// or the deadline has passed; at least once.
[[nodiscard]] result<void> search_cluster(
    const std::string& data_folder, std::chrono::milliseconds deadline, const std::stop_token& stop,
    const std::function<result<void>(const apps::cluster_endpoint&)>& attempt);

template <class... Answers, class... Request>
[[nodiscard]] result<std::tuple<Answers...>> ask_front_door(caf::actor_system& system,
                                                            const apps::cluster_endpoint& endpoint,
                                                            const std::stop_token& stop,
                                                            const Request&... request) {
  const auto door = find_front_door(system, endpoint);
  if (!door) return fail(door.error());
  const promise<std::tuple<Answers...>> answer;
  system.spawn([answer, to = *door, request...](caf::event_based_actor* self) {
    const auto refuse = [self, answer](error reason) {
      answer.deliver(fail(std::move(reason)));
      self->quit();
    };
    self->set_down_handler([refuse](const caf::down_msg&) {
      refuse({errc::peer_lost, "the control node went away", "its process ended", ""});
    });
    self->monitor(to);
    self->request(to, deadlines::connect, request...)
        .then(
            [self, answer](const Answers&... answers) {
              answer.deliver(std::tuple<Answers...>(answers...));
              self->quit();
            },
            [refuse](const caf::error& e) { refuse(actors::from_caf(e)); });
  });
  const std::stop_callback on_stop(
      stop, [answer] { answer.deliver(fail(errc::cancelled, "the process is about to end")); });
  return answer.get_future().get(deadlines::connect + std::chrono::seconds(1));
}

}  // namespace troupe::client
