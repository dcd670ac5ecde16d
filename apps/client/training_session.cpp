#include "apps/client/training_session.hpp"

#include <algorithm>

#include "config/deadlines.hpp"

namespace troupe::client {
namespace {

constexpr std::uint32_t attempts_max = 60;
constexpr std::chrono::milliseconds retry_pause{500};
constexpr std::chrono::milliseconds settled_pause{50};

/// Whether the cluster could keep nothing of a pass but its tokens.
bool has_repeated_forward(const result<op_reply>& reply) {
  const auto* const output = reply ? std::get_if<backward_result>(&reply->output) : nullptr;
  return output != nullptr && std::ranges::any_of(output->metrics, [](const auto& metric) {
           return metric.first == "forward_repeated:max" && metric.second > 0;
         });
}

}  // namespace

std::shared_ptr<training_session> training_session::start(const std::shared_ptr<connection>& link,
                                                          run_info info,
                                                          actors::training_run_actor run) {
  auto session = std::make_shared<training_session>(link, std::move(info), std::move(run));
  link->listen(session);
  return session;
}

training_session::training_session(const std::shared_ptr<connection>& link, run_info info,
                                   actors::training_run_actor run)
    : link_(link->shared_from_this()),
      info_(std::move(info)),
      run_(std::move(run)),
      client_epoch_(info_.client_epoch),
      next_seq_id_(info_.next_seq_id) {}

actors::training_run_actor training_session::run() const {
  const std::lock_guard lock(run_mutex_);
  return run_;
}

void training_session::submit(submission next) {
  const bool is_open = link_->in_hub([session = shared_from_this(), next](hub_actor::pointer self) {
    session->waiting_.add(next);
    if (!session->current_) session->send_next(self);
  });
  if (!is_open) (void)next.done(0, connection::closed());
}

future<run_info> training_session::settled() {
  const promise<run_info> answer;
  const bool is_open =
      link_->in_hub([session = shared_from_this(), answer](hub_actor::pointer self) {
        session->ask_settled(self, answer);
      });
  if (!is_open) answer.deliver(connection::closed());
  return answer.get_future();
}

void training_session::ask_settled(hub_actor::pointer self, const promise<run_info>& answer) {
  const auto later = [session = shared_from_this(), self, answer] {
    self->run_delayed(settled_pause,
                      [session, self, answer] { session->ask_settled(self, answer); });
  };
  actors::ask(
      self, run(), deadlines::control, run_status_request{info_.run},
      [later, answer](const run_info& now) {
        const bool is_settled = now.committed_seq_id + 1 >= now.next_seq_id;
        const bool is_final = now.phase == run_phase::failed || now.phase == run_phase::rolled_back;
        return is_settled || is_final ? answer.deliver(now) : later();
      },
      [later, answer](const error& e) {
        const bool again = actors::is_lost(e) || is_retryable(e.code);
        return again ? later() : answer.deliver(fail(e));
      });
}

void training_session::send_next(hub_actor::pointer self) {
  if (auto next = waiting_.take()) start(self, std::move(*next));
}

void training_session::start(hub_actor::pointer self, submission next) {
  current_ = std::move(next);
  // Fewer were accepted before it than its sender thought, when some were refused.
  current_seq_id_ = current_->seq_id == 0 ? next_seq_id_ : std::min(current_->seq_id, next_seq_id_);
  if (current_->numbered) current_->numbered(current_seq_id_);
  send(self, 1);
}

void training_session::send(hub_actor::pointer self, std::uint32_t attempt) {
  if (!is_linked_) return;
  const op_request request{info_.run, client_epoch_, current_seq_id_, current_->body,
                           current_->cursor};
  if (const auto fits = fits_frame(request); !fits) {
    return answered(self, fail(fits.error()));
  }
  actors::ask(
      self, run(), deadlines::op, request,
      [session = shared_from_this(), self, link = link_number_](const op_reply& reply) {
        if (link != session->link_number_) return;
        session->next_seq_id_ = std::max(session->next_seq_id_, session->current_seq_id_ + 1);
        session->answered(self, reply);
      },
      [session = shared_from_this(), self, attempt, link = link_number_](const error& e) {
        if (link != session->link_number_) return;
        const bool again = actors::is_lost(e) || is_retryable(e.code);
        if (!again || attempt >= attempts_max) return session->refused(self, e);
        self->run_delayed(retry_pause, [session, self, attempt, link] {
          if (link == session->link_number_) session->send(self, attempt + 1);
        });
      });
}

void training_session::refused(hub_actor::pointer self, const error& e) {
  // Only the run knows whether a refused operation used up its number.
  actors::ask(
      self, run(), deadlines::control, run_status_request{info_.run},
      [session = shared_from_this(), self, e](const run_info& now) {
        session->next_seq_id_ = now.next_seq_id;
        session->answered(self, fail(e));
      },
      [session = shared_from_this(), self, e](const error&) { session->answered(self, fail(e)); });
}

void training_session::answered(hub_actor::pointer self, const result<op_reply>& reply) {
  if (!current_) return;
  const submission finished = std::move(*current_);
  current_.reset();
  const std::uint64_t seq_id = reply ? reply->seq_id : 0;
  if (finished.phase == pass_phase::second && has_repeated_forward(reply)) may_overlap_ = false;
  if (finished.phase == pass_phase::first && may_overlap_)
    if (auto beside = waiting_.take_beside()) start(self, std::move(*beside));
  if (auto second = finished.done(seq_id, reply)) waiting_.add_second_phase(std::move(*second));
  if (!current_) send_next(self);
}

void training_session::link_lost(hub_actor::pointer) {
  is_linked_ = false;
  ++link_number_;
}

void training_session::link_restored(hub_actor::pointer self, const result<void>& outcome) {
  if (!outcome) return give_up(self, outcome.error());
  take_over(self, 1);
}

void training_session::link_closed(hub_actor::pointer self) {
  link_lost(self);
  while (current_)
    answered(self, fail(errc::cancelled, "the client ended before the answer came"));
}

void training_session::take_over(hub_actor::pointer self, std::uint32_t attempt) {
  actors::ask(
      self, link_->manager(), deadlines::control, attach_run_request{info_.run},
      [session = shared_from_this(), self, link = link_number_](
          const run_info& now, const actors::training_run_actor& run) {
        if (link != session->link_number_) return;
        {
          const std::lock_guard lock(session->run_mutex_);
          session->run_ = run;
        }
        session->client_epoch_ = now.client_epoch;
        session->is_linked_ = true;
        if (session->current_) session->send(self, 1);
      },
      [session = shared_from_this(), self, attempt, link = link_number_](const error& e) {
        if (link != session->link_number_) return;
        // The manager may still be reading its runs.
        const bool again = e.code == errc::not_found || is_retryable(e.code);
        if (!again || attempt >= attempts_max) return session->give_up(self, e);
        self->run_delayed(retry_pause, [session, self, attempt, link] {
          if (link == session->link_number_) session->take_over(self, attempt + 1);
        });
      });
}

void training_session::give_up(hub_actor::pointer self, const error& e) {
  is_linked_ = true;
  while (current_)
    answered(self, fail(e));
}

}  // namespace troupe::client
