#pragma once

// What a sampling_client holds: its link, the deployment's handle, and the requests that are not
// answered yet. When the control node was started again the deployment is looked up once more and
// they are asked again: sampling changes nothing, and its seeds make the answers the same. Streams
// are not: a part of theirs was read, so they end in an error.
//
// Threading: `ask` from any thread; everything else in the connection's hub.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "apps/client/connection.hpp"
#include "config/deadlines.hpp"
#include "messages/sampling.hpp"
#include "messages/wire/codec.hpp"

namespace troupe::client {

class sampling_session final : public link_listener,
                               public std::enable_shared_from_this<sampling_session> {
 public:
  static std::shared_ptr<sampling_session> start(const std::shared_ptr<connection>& link,
                                                 deployment_id deployment,
                                                 actors::deployment_actor handle);
  sampling_session(const std::shared_ptr<connection>& link, deployment_id deployment,
                   actors::deployment_actor handle);

  [[nodiscard]] const deployment_id& deployment() const { return deployment_; }

  /// A number for a request that may be cancelled or read, unlike any other of this process.
  [[nodiscard]] std::uint64_t new_ticket() const { return link_->new_ticket(); }

  /// Whether a failed request is asked again as long as that may help.
  enum class repeating : std::uint8_t { never = 0, while_it_may_help = 1 };

  /// Asks until there is an answer or an error that asking again cannot heal; errc::cancelled at
  /// once when the client has ended.
  template <class T, class Message>
  future<T> ask(std::chrono::milliseconds deadline, Message message,
                repeating again = repeating::while_it_may_help) {
    const promise<T> answer;
    // What a node cannot decode it drops, and there would be nothing to wait for.
    if (const auto ok = wire::validate(message); !ok) {
      answer.deliver(fail(ok.error()));
      return answer.get_future();
    }
    const bool is_open = link_->in_hub([session = shared_from_this(), deadline, answer, again,
                                        message = std::move(message)](hub_actor::pointer self) {
      const std::uint64_t number = ++session->last_number_;
      session->open_.emplace(
          number,
          open_request{[session, number, deadline, answer, message](hub_actor::pointer hub) {
                         session->send<T>(hub, number, deadline, answer, message);
                       },
                       [answer](const error& e) { answer.deliver(fail(e)); }, again, 0});
      session->open_.at(number).send(self);
    });
    if (!is_open) answer.deliver(connection::closed());
    return answer.get_future();
  }

  void link_lost(hub_actor::pointer self) override;
  void link_restored(hub_actor::pointer self, const result<void>& outcome) override;
  void link_closed(hub_actor::pointer self) override;

 private:
  struct open_request {
    std::function<void(hub_actor::pointer)> send;
    std::function<void(const error&)> give_up;
    repeating again = repeating::while_it_may_help;
    std::uint32_t attempts = 0;
  };

  template <class T, class Message>
  void send(hub_actor::pointer self, std::uint64_t number, std::chrono::milliseconds deadline,
            const promise<T>& answer, const Message& message) {
    if (!is_linked_) return;
    actors::ask(
        self, handle_, deadline, message,
        [session = shared_from_this(), number, answer](const T& value) {
          if (session->open_.erase(number) > 0) answer.deliver(value);
        },
        [session = shared_from_this(), self, number, link = link_number_](const error& e) {
          if (link == session->link_number_) session->failed(self, number, e);
        });
  }

  void failed(hub_actor::pointer self, std::uint64_t number, const error& e);
  void find(hub_actor::pointer self, std::uint32_t attempt);
  void give_up(const error& e);

  std::shared_ptr<connection> link_;
  deployment_id deployment_;
  actors::deployment_actor handle_;
  std::map<std::uint64_t, open_request> open_;
  std::uint64_t last_number_ = 0;
  std::uint64_t link_number_ = 0;  ///< failures of an older link are ignored
  bool is_linked_ = true;
};

}  // namespace troupe::client
