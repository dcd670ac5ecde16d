#include "apps/client/sampling_client.hpp"

#include "apps/client/sampling_session.hpp"
#include "config/deadlines.hpp"

namespace troupe::client {
namespace {

constexpr std::uint32_t attempts_max = 60;
constexpr std::chrono::milliseconds retry_pause{500};

/// Sampling changes nothing, so a lost or refused request may simply be asked again.
template <class T, class Message>
void ask_again(hub_actor::pointer self, const std::shared_ptr<sampling_session>& session,
               std::chrono::milliseconds deadline, const Message& message, const promise<T>& answer,
               std::uint32_t attempt) {
  actors::ask(
      self, session->handle(), deadline, message,
      [answer](const T& value) { answer.deliver(value); },
      [self, session, deadline, message, answer, attempt](const error& e) {
        const bool again = actors::is_lost(e) || e.code == errc::busy;
        if (!again || attempt >= attempts_max) return answer.deliver(fail(e));
        self->run_delayed(retry_pause, [self, session, deadline, message, answer, attempt] {
          ask_again(self, session, deadline, message, answer, attempt + 1);
        });
      });
}

template <class T, class Message>
future<T> start(const std::shared_ptr<sampling_session>& session,
                std::chrono::milliseconds deadline, Message message) {
  const promise<T> answer;
  post(session->link().hub(),
       [session, deadline, answer, message = std::move(message)](hub_actor::pointer self) {
         ask_again(self, session, deadline, message, answer, 1);
       });
  return answer.get_future();
}

}  // namespace

sampling_client::sampling_client(std::shared_ptr<sampling_session> session)
    : session_(std::move(session)) {}

future<sample_reply> sampling_client::sample(std::vector<token_id> prompt,
                                             const sampling_params& params,
                                             std::uint32_t num_samples) {
  return start<sample_reply>(
      session_, deadlines::sample,
      sample_request{session_->deployment(), std::move(prompt), params, num_samples, 0});
}

future<sync_reply> sampling_client::sync(checkpoint_id checkpoint) {
  return start<sync_reply>(session_, deadlines::sync,
                           sync_request{session_->deployment(), std::move(checkpoint)});
}

result<deployment_info> sampling_client::status() {
  return session_->link().call<deployment_info>(session_->handle(), deadlines::control,
                                                deployment_status_request{session_->deployment()});
}

}  // namespace troupe::client
