#pragma once

// The bridge between the HTTP loop and the cluster's actors: requests leave through the client's
// hub, answers come back as callbacks on the loop, so that neither side ever waits for the other.
//
// Threading: calls from the loop's thread; callbacks there, too.
// Errors: in the callbacks: what the cluster answers, errc::peer_lost when it is gone.

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "apps/client/connection.hpp"

namespace troupe::gateway {

class cluster_link {
 public:
  template <class T>
  using callback = std::function<void(result<T>)>;

  cluster_link(boost::asio::io_context& loop, std::shared_ptr<client::connection> link)
      : loop_(loop), link_(std::move(link)) {}

  [[nodiscard]] const std::shared_ptr<client::connection>& link() const { return link_; }
  [[nodiscard]] boost::asio::io_context& loop() const { return loop_; }

  /// One request with one answer.
  template <class T, class Handle, class Message>
  void ask(const Handle& to, std::chrono::milliseconds deadline, Message message,
           callback<T> then) const {
    const auto deliver = into_loop(std::move(then));
    client::post(link_->hub(), [to, deadline, deliver,
                                message = std::move(message)](client::hub_actor::pointer self) {
      actors::ask(
          self, to, deadline, message, [deliver](const T& value) { deliver(value); },
          [deliver](const error& e) { deliver(fail(e)); });
    });
  }

  /// One request that is answered with a description and a handle.
  template <class Info, class Given, class Handle, class Message>
  void ask_for_handle(const Handle& to, std::chrono::milliseconds deadline, Message message,
                      callback<std::pair<Info, Given>> then) const {
    const auto deliver = into_loop(std::move(then));
    client::post(link_->hub(), [to, deadline, deliver,
                                message = std::move(message)](client::hub_actor::pointer self) {
      actors::ask(
          self, to, deadline, message,
          [deliver](const Info& info, const Given& given) {
            deliver(std::pair<Info, Given>(info, given));
          },
          [deliver](const error& e) { deliver(fail(e)); });
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
  boost::asio::io_context& loop_;
  std::shared_ptr<client::connection> link_;
};

}  // namespace troupe::gateway
