#include <utility>

#include "actors/deployment.hpp"
#include "actors/runtime/ask.hpp"
#include "actors/weight_syncer.hpp"
#include "config/deadlines.hpp"

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds reopen_pause{200};

}  // namespace

std::string deployment_state::hosting(std::uint32_t number) const {
  return "deployment " + id_.value + "/" + std::to_string(number);
}

/// Null when the place has closed or opens anew since.
deployment_state::place* deployment_state::current(std::uint32_t number, std::uint64_t opening) {
  const auto found = places_.find(number);
  if (found == places_.end() || found->second.opening != opening) return nullptr;
  return &found->second;
}

/// Opens and drains places until as many as wanted are there.
void deployment_state::adjust() {
  const std::uint32_t wanted = config_.record.request.replicas;
  std::vector<std::uint32_t> there;
  for (const auto& [number, p] : places_) {
    if (p.phase != replica_phase::draining) there.push_back(number);
  }
  for (; there.size() > wanted; there.pop_back())
    drain(there.back());
  for (std::uint32_t number = 0; there.size() < wanted; ++number) {
    if (places_.contains(number)) continue;
    there.push_back(number);
    open_place(number);
  }
}

void deployment_state::open_place(std::uint32_t number) {
  place& p = places_[number];
  p.phase = replica_phase::opening;
  p.opening = ++num_opened_;
  ask(
      self_, config_.manager, deadlines::capacity + deadlines::control,
      acquire_nodes{node_role::sampler, 1, hosting(number), 0, node_share::whole},
      [this, number, opening = p.opening](const node_grant& grant) {
        if (current(number, opening) != nullptr) granted(number, grant);
      },
      [this, number, opening = p.opening](const error& e) {
        if (current(number, opening) != nullptr) open_failed(number, e);
      });
}

void deployment_state::granted(std::uint32_t number, const node_grant& grant) {
  place& p = places_.at(number);
  p.node = grant.nodes.front();
  p.agent = grant.agents.front();
  self_->monitor(p.agent);
  self_
      ->request(p.agent, deadlines::shard_open,
                open_sampler_request{id_, config_.record.request.model})
      .then(
          [this, number, opening = p.opening](const replica_status&, const sampler_actor& replica) {
            if (current(number, opening) != nullptr) return opened(number, replica);
            caf::anon_send_exit(replica, caf::exit_reason::user_shutdown);
          },
          [this, number, opening = p.opening](const caf::error& e) {
            if (current(number, opening) != nullptr) open_failed(number, from_caf(e));
          });
}

void deployment_state::opened(std::uint32_t number, const sampler_actor& replica) {
  place& p = places_.at(number);
  self_->demonitor(p.agent);
  p.agent = nullptr;
  p.replica = replica;
  p.version = 0;
  self_->monitor(replica);
  p.phase = replica_phase::catching_up;
  if (version_ > 0) return catch_up(number);
  serve(number);
}

void deployment_state::open_failed(std::uint32_t number, const error& reason) {
  place& p = places_.at(number);
  end_replica(p, number);
  p.phase = replica_phase::opening;
  p.opening = ++num_opened_;
  if (category_of(reason.code) == error_category::user && !has_served_) {
    for (auto& open : waiting_)
      refuse(open, reason);
    waiting_.clear();
    return self_->quit();
  }
  p.waits_to_retry = true;
  changed();
  self_->delayed_send(deployment_self{self_}, reopen_pause, tick{});
}

void deployment_state::retry_waiting() {
  for (auto& [number, p] : places_) {
    if (std::exchange(p.waits_to_retry, false)) open_place(number);
  }
}

/// Brings one replica to the live version, alone.
void deployment_state::catch_up(std::uint32_t number) {
  place& p = places_.at(number);
  p.phase = replica_phase::catching_up;
  changed();
  auto syncer = spawn_weight_syncer(self_->system(), config_.store,
                                    {p.replica, p.node, version_, number, config_.model});
  ask(
      self_, syncer, deadlines::sync, sync_request{id_, checkpoint_},
      [this, number, opening = p.opening, version = version_](const sync_reply&) {
        place* const ready = current(number, opening);
        if (ready == nullptr) return;
        ready->version = version;
        if (ready->phase == replica_phase::draining) return close_if_idle(number);
        if (version != version_) return catch_up(number);
        serve(number);
      },
      [this, number, opening = p.opening](const error& e) {
        if (current(number, opening) != nullptr) open_failed(number, e);
      });
}

void deployment_state::serve(std::uint32_t number) {
  place& p = places_.at(number);
  p.phase = replica_phase::serving;
  has_served_ = true;
  router_.forget(number);
  changed();
  for (auto& open : std::exchange(waiting_, {}))
    route(std::move(open));
}

void deployment_state::went_down(const caf::actor_addr& source) {
  if (clients_.contains(source)) return client_gone(source);
  for (const auto& [number, p] : places_) {
    if (p.replica && p.replica.address() == source) return replica_lost(number);
    if (p.agent && p.agent.address() == source) {
      return open_failed(number,
                         {errc::peer_lost, "the node went away while it opened a replica", "", ""});
    }
  }
}

/// A paused replica ends itself when it sees that its node's lease ran out.
void deployment_state::silent(const node_id& node) {
  const error reason{errc::peer_lost, "node " + node.value + " fell silent",
                     "it is paused, overloaded or cut off", ""};
  std::vector<std::uint32_t> there;
  for (const auto& [number, p] : places_) {
    if (p.node == node && (p.agent || p.replica)) there.push_back(number);
  }
  for (const std::uint32_t number : there) {
    if (places_.at(number).agent) {
      open_failed(number, reason);
    } else {
      replica_lost(number);
    }
  }
}

void deployment_state::replica_lost(std::uint32_t number) {
  place& p = places_.at(number);
  const bool was_wanted = p.phase != replica_phase::draining;
  end_replica(p, number);
  p.load = 0;
  ++p.restarts;
  router_.forget(number);
  if (was_wanted) {
    open_place(number);
  } else {
    places_.erase(number);
  }
  std::vector<open_request> again;
  for (auto it = active_.begin(); it != active_.end();) {
    const bool was_here = it->second.place == number;
    if (was_here) {
      by_ticket_.erase(it->second.origin);
      again.push_back(std::move(it->second));
    }
    it = was_here ? active_.erase(it) : std::next(it);
  }
  changed();
  for (auto& open : again)
    route(std::move(open));
  if (!round_) return;
  const round_ptr round = round_;
  end_place(round, number,
            {errc::peer_lost, "the replica went away during a sync",
             "its process or machine ended, or fell silent", "it catches up when it is replaced"});
}

void deployment_state::drain(std::uint32_t number) {
  place& p = places_.at(number);
  p.phase = replica_phase::draining;
  router_.forget(number);
  close_if_idle(number);
}

void deployment_state::close_if_idle(std::uint32_t number) {
  place& p = places_.at(number);
  if (p.phase != replica_phase::draining || p.load > 0) return;
  end_replica(p, number);
  places_.erase(number);
  changed();
}

void deployment_state::end_replica(place& closing, std::uint32_t number) {
  if (closing.agent) self_->demonitor(closing.agent);
  closing.agent = nullptr;
  if (closing.replica) {
    self_->demonitor(closing.replica);
    caf::anon_send_exit(closing.replica, caf::exit_reason::user_shutdown);
  }
  closing.replica = nullptr;
  actors::tell(self_, config_.manager, release_nodes{hosting(number)});
}

}  // namespace troupe::actors
