#pragma once

// A client's link to the control node: the actor system, the hub, and the handles that the front
// door gave out. When the control node goes away, the link finds it again (its address may have
// changed: the endpoint file is read anew) and whoever holds handles is told to renew them.
//
// What is on its way keeps what it calls back alive, and that keeps its link: so who uses a link
// holds another pointer than who is called back by it (shared_from_this), and the end of the last
// user closes it, whatever is still on its way. An actor system that outlives `main` would run
// beside the end of what it uses.
//
// Threading: const access from any thread; listeners are called in the hub. The last user must not
// end in the hub: no custom loss may hold one.
// Errors: errc::peer_lost, errc::fenced as the door says; errc::cancelled once it is closed.
// Invariants: LINK-1 a request to a control node that died is never waited for to its deadline:
//             listeners hear of the loss at once.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "actors/runtime/ask.hpp"
#include "apps/client/future.hpp"
#include "apps/client/hub.hpp"
#include "apps/support/cluster_endpoint.hpp"

namespace troupe::client {

/// Holds handles that die with the control node.
class link_listener {
 public:
  virtual ~link_listener() = default;
  /// Answers of requests that are under way will not come.
  virtual void link_lost(hub_actor::pointer self) = 0;
  /// The new control node's manager is there; errc::peer_lost: it was not found in time.
  virtual void link_restored(hub_actor::pointer self, const result<void>& outcome) = 0;
  /// The last user has gone: nothing is answered any more.
  virtual void link_closed(hub_actor::pointer) {}
};

class connection : public std::enable_shared_from_this<connection> {
 public:
  /// For its users: closes with the last copy.
  static result<std::shared_ptr<connection>> open(const apps::cluster_endpoint& endpoint);
  explicit connection(const apps::cluster_endpoint& endpoint);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  [[nodiscard]] const hub_actor& hub() const { return hub_; }
  [[nodiscard]] actors::job_manager_actor manager() const;
  [[nodiscard]] actors::checkpoint_store_actor store() const;
  [[nodiscard]] const std::string& storage_root() const { return storage_root_; }

  /// Names a sample request: unlike any other's of this connection.
  [[nodiscard]] std::uint64_t new_ticket() { return ++last_ticket_; }

  void listen(std::weak_ptr<link_listener> listener);

  /// A small job for the hub. False once the link is closed: nothing would be answered any more.
  template <class Job>
  [[nodiscard]] bool in_hub(Job&& job) const {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return false;
    post(hub_, std::forward<Job>(job));
    return true;
  }
  [[nodiscard]] static tl::unexpected<error> closed();

  /// One request with one answer of type T, waited for a little longer than its own deadline.
  template <class T, class Handle, class Message>
  [[nodiscard]] result<T> call(const Handle& to, std::chrono::milliseconds deadline,
                               Message message) const {
    const promise<T> answer;
    const bool is_open =
        in_hub([to, deadline, message = std::move(message), answer](hub_actor::pointer self) {
          actors::ask(
              self, to, deadline, message, [answer](const T& value) { answer.deliver(value); },
              [answer](const error& e) { answer.deliver(fail(e)); });
        });
    if (!is_open) return closed();
    return answer.get_future().get(deadline + std::chrono::seconds(1));
  }

  /// A request that answers a description and a handle.
  template <class Info, class Given, class Handle, class Message>
  [[nodiscard]] result<std::pair<Info, Given>> call_for_handle(const Handle& to,
                                                               std::chrono::milliseconds deadline,
                                                               Message message) const {
    using both = std::pair<Info, Given>;
    const promise<both> answer;
    const bool is_open =
        in_hub([to, deadline, message = std::move(message), answer](hub_actor::pointer self) {
          actors::ask(
              self, to, deadline, message,
              [answer](const Info& info, const Given& given) {
                answer.deliver(both{info, given});
              },
              [answer](const error& e) { answer.deliver(fail(e)); });
        });
    if (!is_open) return closed();
    return answer.get_future().get(deadline + std::chrono::seconds(1));
  }

 private:
  struct network;

  void close();
  result<void> attach(const apps::cluster_endpoint& endpoint, const std::stop_token& stop);
  void watch(hub_actor::pointer self);
  void lost(hub_actor::pointer self);
  void find_again(const std::stop_token& stop);
  void tell_restored(result<void> outcome);
  [[nodiscard]] std::vector<std::shared_ptr<link_listener>> listeners();

  std::unique_ptr<network> network_;
  hub_actor hub_;
  std::atomic<std::uint64_t> last_ticket_{0};
  std::string data_folder_;
  std::string storage_root_;

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable_any pause_;
  actors::job_manager_actor manager_;
  actors::checkpoint_store_actor store_;
  std::vector<std::weak_ptr<link_listener>> listeners_;

  bool is_closed_ = false;
  bool is_finding_ = false;
  std::jthread finder_;
};

}  // namespace troupe::client
