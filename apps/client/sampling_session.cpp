#include "apps/client/sampling_session.hpp"

namespace troupe::client {
namespace {

constexpr std::uint32_t attempts_max = 60;
constexpr std::chrono::milliseconds retry_pause{500};

}  // namespace

std::shared_ptr<sampling_session> sampling_session::start(const std::shared_ptr<connection>& link,
                                                          deployment_id deployment,
                                                          actors::deployment_actor handle) {
  auto session = std::make_shared<sampling_session>(link, std::move(deployment), std::move(handle));
  link->listen(session);
  return session;
}

sampling_session::sampling_session(const std::shared_ptr<connection>& link,
                                   deployment_id deployment, actors::deployment_actor handle)
    : link_(link->shared_from_this()),
      deployment_(std::move(deployment)),
      handle_(std::move(handle)) {}

void sampling_session::failed(hub_actor::pointer self, std::uint64_t number, const error& e) {
  const auto known = open_.find(number);
  if (known == open_.end()) return;
  const bool may_help = actors::is_lost(e) || is_retryable(e.code);
  const bool again = may_help && known->second.again == repeating::while_it_may_help;
  if (!again || ++known->second.attempts >= attempts_max) {
    auto node = open_.extract(known);
    return node.mapped().give_up(e);
  }
  self->run_delayed(retry_pause, [session = shared_from_this(), self, number, link = link_number_] {
    const auto open = session->open_.find(number);
    if (link == session->link_number_ && open != session->open_.end()) {
      open->second.send(self);
    }
  });
}

void sampling_session::link_lost(hub_actor::pointer) {
  is_linked_ = false;
  ++link_number_;
  const error lost{errc::peer_lost, "the control node went away in the middle of a stream",
                   "its process or machine ended", "ask for a new stream"};
  for (auto it = open_.begin(); it != open_.end();) {
    const bool ends = it->second.again == repeating::never;
    if (ends) it->second.give_up(lost);
    it = ends ? open_.erase(it) : std::next(it);
  }
}

void sampling_session::link_restored(hub_actor::pointer self, const result<void>& outcome) {
  if (!outcome) return give_up(outcome.error());
  find(self, 1);
}

void sampling_session::link_closed(hub_actor::pointer self) {
  give_up({errc::cancelled, "the client ended before the answer came", "", ""});
  link_lost(self);
}

void sampling_session::find(hub_actor::pointer self, std::uint32_t attempt) {
  actors::ask(
      self, link_->manager(), deadlines::control, deployment_status_request{deployment_},
      [session = shared_from_this(), self, link = link_number_](
          const deployment_info&, const actors::deployment_actor& handle) {
        if (link != session->link_number_) return;
        session->handle_ = handle;
        session->is_linked_ = true;
        for (auto& [number, open] : session->open_)
          open.send(self);
      },
      [session = shared_from_this(), self, attempt, link = link_number_](const error& e) {
        if (link != session->link_number_) return;
        // The manager may still be reading its deployments.
        const bool again = e.code == errc::not_found || is_retryable(e.code);
        if (!again || attempt >= attempts_max) return session->give_up(e);
        self->run_delayed(retry_pause, [session, self, attempt, link] {
          if (link == session->link_number_) session->find(self, attempt + 1);
        });
      });
}

void sampling_session::give_up(const error& e) {
  is_linked_ = true;
  for (auto& [number, open] : std::exchange(open_, {}))
    open.give_up(e);
}

}  // namespace troupe::client
