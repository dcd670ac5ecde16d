#include "apps/client/training_session.hpp"

#include "config/deadlines.hpp"

namespace troupe::client {
namespace {

constexpr std::uint32_t attempts_max = 60;
constexpr std::chrono::milliseconds retry_pause{500};

}  // namespace

training_session::training_session(std::shared_ptr<connection> link, run_info info,
                                   actors::training_run_actor run)
    : link_(std::move(link)),
      info_(std::move(info)),
      run_(std::move(run)),
      next_seq_id_(info_.next_seq_id) {}

void training_session::submit(submission next) {
  post(link_->hub(),
       [session = shared_from_this(), next = std::move(next)](hub_actor::pointer self) {
         session->waiting_.push_back(next);
         if (!session->current_) session->send_next(self);
       });
}

void training_session::send_next(hub_actor::pointer self) {
  if (waiting_.empty()) return;
  current_ = std::move(waiting_.front());
  waiting_.pop_front();
  send(self, 1);
}

void training_session::send(hub_actor::pointer self, std::uint32_t attempt) {
  const op_request request{info_.run, info_.client_epoch, next_seq_id_, current_->body,
                           current_->cursor};
  if (const auto fits = fits_frame(request); !fits) {
    return answered(self, fail(fits.error()));
  }
  actors::ask(
      self, run_, deadlines::op, request,
      [session = shared_from_this(), self](const op_reply& reply) {
        ++session->next_seq_id_;
        session->answered(self, reply);
      },
      [session = shared_from_this(), self, attempt](const error& e) {
        const bool again = actors::is_lost(e) || e.code == errc::busy;
        if (!again || attempt >= attempts_max) return session->refused(self, e);
        self->run_delayed(retry_pause,
                          [session, self, attempt] { session->send(self, attempt + 1); });
      });
}

void training_session::refused(hub_actor::pointer self, const error& e) {
  // Only the run knows whether a refused operation used up its number.
  actors::ask(
      self, run_, deadlines::control, run_status_request{info_.run},
      [session = shared_from_this(), self, e](const run_info& now) {
        session->next_seq_id_ = now.next_seq_id;
        session->answered(self, fail(e));
      },
      [session = shared_from_this(), self, e](const error&) { session->answered(self, fail(e)); });
}

void training_session::answered(hub_actor::pointer self, const result<op_reply>& reply) {
  const submission finished = std::move(*current_);
  current_.reset();
  const std::uint64_t seq_id = reply ? reply->seq_id : 0;
  if (auto urgent = finished.done(seq_id, reply)) waiting_.push_front(std::move(*urgent));
  send_next(self);
}

}  // namespace troupe::client
