#pragma once

// A client's link to the control node: the actor system, the hub, and the handles that the front
// door gave out.
//
// Threading: const access from any thread. Errors: errc::peer_lost, errc::fenced as the door says.

#include <memory>

#include "actors/runtime/ask.hpp"
#include "apps/client/future.hpp"
#include "apps/client/hub.hpp"
#include "apps/support/cluster_endpoint.hpp"

namespace troupe::client {

class connection {
 public:
  static result<std::shared_ptr<connection>> open(const apps::cluster_endpoint& endpoint);
  explicit connection(const apps::cluster_endpoint& endpoint);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  [[nodiscard]] const hub_actor& hub() const { return hub_; }
  [[nodiscard]] const actors::job_manager_actor& manager() const { return manager_; }
  [[nodiscard]] const actors::checkpoint_store_actor& store() const { return store_; }
  [[nodiscard]] const std::string& storage_root() const { return storage_root_; }

  /// One request with one answer of type T, waited for a little longer than its own deadline.
  template <class T, class Handle, class Message>
  [[nodiscard]] result<T> call(const Handle& to, std::chrono::milliseconds deadline,
                               Message message) const {
    const promise<T> answer;
    post(hub_, [to, deadline, message = std::move(message), answer](hub_actor::pointer self) {
      actors::ask(
          self, to, deadline, message, [answer](const T& value) { answer.deliver(value); },
          [answer](const error& e) { answer.deliver(fail(e)); });
    });
    return answer.get_future().get(deadline + std::chrono::seconds(1));
  }

  /// A request that answers a description and a handle.
  template <class Info, class Given, class Handle, class Message>
  [[nodiscard]] result<std::pair<Info, Given>> call_for_handle(const Handle& to,
                                                               std::chrono::milliseconds deadline,
                                                               Message message) const {
    using both = std::pair<Info, Given>;
    const promise<both> answer;
    post(hub_, [to, deadline, message = std::move(message), answer](hub_actor::pointer self) {
      actors::ask(
          self, to, deadline, message,
          [answer](const Info& info, const Given& given) {
            answer.deliver(both{info, given});
          },
          [answer](const error& e) { answer.deliver(fail(e)); });
    });
    return answer.get_future().get(deadline + std::chrono::seconds(1));
  }

 private:
  struct network;

  result<void> attach(const apps::cluster_endpoint& endpoint);

  std::unique_ptr<network> network_;
  hub_actor hub_;
  actors::job_manager_actor manager_;
  actors::checkpoint_store_actor store_;
  std::string storage_root_;
};

}  // namespace troupe::client
