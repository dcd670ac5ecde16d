#pragma once

// The bridge between the HTTP loop and the cluster's actors: requests leave through the client's
// hub, answers come back as callbacks on the loop, so that neither side ever waits for the other.
// Requests to the control node outlive it: when it is started again they are asked once more, so
// they must be such that asking twice does no harm.
//
// Threading: calls from the loop's thread; callbacks there, too.
// Errors: in the callbacks: what the cluster answers; errc::peer_lost when the control node does
// not come back within deadlines::capacity. Invariants: BRIDGE-1 every callback is called once.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "apps/client/connection.hpp"
#include "messages/cluster.hpp"

namespace troupe::gateway {

class cluster_link {
 public:
  template <class T>
  using callback = std::function<void(result<T>)>;

  cluster_link(boost::asio::io_context& loop, std::shared_ptr<client::connection> link);
  cluster_link(const cluster_link&) = delete;
  cluster_link& operator=(const cluster_link&) = delete;
  ~cluster_link();

  [[nodiscard]] const std::shared_ptr<client::connection>& link() const { return link_; }
  [[nodiscard]] boost::asio::io_context& loop() const { return loop_; }

  /// How many nodes of a role were attached at once: fewer means that some are missing.
  [[nodiscard]] std::size_t& most_nodes(node_role role) { return most_nodes_[role]; }

  /// Handles of actors that the control node hosts are dead after `lost`.
  void watch(std::function<void()> lost, std::function<void(result<void>)> restored);

  template <class T, class Message>
  void ask_manager(std::chrono::milliseconds deadline, Message message, callback<T> then) {
    keep_asking<T>(
        [link = link_, deadline, message = std::move(message)](client::hub_actor::pointer self,
                                                               const callback<T>& deliver) {
          ask<T>(self, link->manager(), deadline, message, deliver);
        },
        std::move(then));
  }

  template <class T, class Message>
  void ask_store(std::chrono::milliseconds deadline, Message message, callback<T> then) {
    keep_asking<T>(
        [link = link_, deadline, message = std::move(message)](client::hub_actor::pointer self,
                                                               const callback<T>& deliver) {
          ask<T>(self, link->store(), deadline, message, deliver);
        },
        std::move(then));
  }

  /// A request that is answered with a description and a handle.
  template <class Info, class Given, class Message>
  void ask_manager_for(std::chrono::milliseconds deadline, Message message,
                       callback<std::pair<Info, Given>> then) {
    using both = std::pair<Info, Given>;
    keep_asking<both>(
        [link = link_, deadline, message = std::move(message)](client::hub_actor::pointer self,
                                                               const callback<both>& deliver) {
          actors::ask(
              self, link->manager(), deadline, message,
              [deliver](const Info& info, const Given& given) { deliver(both(info, given)); },
              [deliver](const error& e) { deliver(fail(e)); });
        },
        std::move(then));
  }

  /// To any other actor, without a second attempt.
  template <class T, class Handle, class Message>
  void ask_once(const Handle& to, std::chrono::milliseconds deadline, Message message,
                callback<T> then) const {
    client::post(link_->hub(), [to, deadline, deliver = into_loop(std::move(then)),
                                message = std::move(message)](client::hub_actor::pointer self) {
      ask<T>(self, to, deadline, message, deliver);
    });
  }

  /// The same callback, callable from any thread.
  template <class T>
  [[nodiscard]] callback<T> into_loop(callback<T> then) const {
    return [&loop = loop_, then = std::move(then)](result<T> value) {
      boost::asio::post(loop,
                        [then, value = std::move(value)]() mutable { then(std::move(value)); });
    };
  }

 private:
  class watcher;
  struct open_request {
    std::function<void(std::uint64_t number)> send;
    std::function<void(const error&)> give_up;
    std::uint32_t attempts = 0;
  };

  template <class T, class Handle, class Message>
  static void ask(client::hub_actor::pointer self, const Handle& to,
                  std::chrono::milliseconds deadline, const Message& message,
                  const callback<T>& deliver) {
    actors::ask(
        self, to, deadline, message, [deliver](const T& value) { deliver(value); },
        [deliver](const error& e) { deliver(fail(e)); });
  }

  template <class T, class Send>
  void keep_asking(Send send, callback<T> then) {
    const std::uint64_t number = ++last_number_;
    open_request entry;
    entry.give_up = [then](const error& e) { then(fail(e)); };
    entry.send = [this, send = std::move(send), then = std::move(then)](std::uint64_t own) {
      const callback<T> deliver =
          into_loop<T>([this, own, then, generation = generation_](result<T> value) {
            if (!value && is_lost(own, generation, value.error())) return;
            if (open_.erase(own) > 0) then(std::move(value));
          });
      client::post(link_->hub(),
                   [send, deliver](client::hub_actor::pointer self) { send(self, deliver); });
    };
    open_.emplace(number, std::move(entry));
    if (is_linked_) open_.at(number).send(number);
  }

  /// True when the request will be asked again, or was already.
  bool is_lost(std::uint64_t number, std::uint64_t generation, const error& e);
  void link_lost();
  void link_restored(const result<void>& outcome);

  boost::asio::io_context& loop_;
  std::shared_ptr<client::connection> link_;
  std::shared_ptr<watcher> watcher_;
  std::vector<std::pair<std::function<void()>, std::function<void(result<void>)>>> watchers_;
  std::map<std::uint64_t, open_request> open_;
  std::map<node_role, std::size_t> most_nodes_;
  std::uint64_t last_number_ = 0;
  std::uint64_t generation_ = 0;  ///< counts the control nodes that were lost
  bool is_linked_ = true;
};

}  // namespace troupe::gateway
