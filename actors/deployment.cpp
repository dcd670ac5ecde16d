#include "actors/deployment.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/weight_syncer.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds reopen_pause{200};

}  // namespace

deployment_state::deployment_state(deployment_self::pointer self, deployment_config config)
    : self_(self),
      config_(std::move(config)),
      id_{config_.record.request.name},
      hosting_("deployment " + id_.value),
      version_(config_.record.version),
      checkpoint_(config_.record.checkpoint) {
  self_->set_down_handler([this](const caf::down_msg& down) {
    if (replica_ && replica_.address() == down.source) return replica_lost();
    if (agent_ && agent_.address() == down.source) {
      open_failed({errc::peer_lost, "the node went away while it opened a replica", "", ""});
    }
  });
  open_replica();
}

deployment_state::~deployment_state() {
  if (replica_) caf::anon_send_exit(replica_, caf::exit_reason::user_shutdown);
}

void deployment_state::replica_lost() {
  replica_ = nullptr;
  serving_ = false;
  for (auto& [number, request] : std::exchange(active_, {}))
    waiting_.push_back(std::move(request));
  tell(self_, config_.manager, release_nodes{hosting_});
  open_replica();
}

void deployment_state::open_replica() {
  ask(
      self_, config_.manager, deadlines::capacity + deadlines::control,
      acquire_nodes{node_role::sampler, 1, hosting_, 0, node_share::whole},
      [this](const node_grant& grant) {
        const node_id node = grant.nodes.front();
        agent_ = grant.agents.front();
        self_->monitor(agent_);
        self_
            ->request(agent_, deadlines::shard_open,
                      open_sampler_request{id_, config_.record.request.model})
            .then([this, node](const replica_status& status,
                               const sampler_actor& replica) { opened(node, status, replica); },
                  [this, agent = agent_](const caf::error& e) {
                    if (agent == agent_) open_failed(from_caf(e));
                  });
      },
      [this](const error& e) { open_failed(e); });
}

void deployment_state::open_failed(const error& reason) {
  agent_ = nullptr;
  tell(self_, config_.manager, release_nodes{hosting_});
  if (category_of(reason.code) == error_category::user) {
    for (auto& [request, promise] : waiting_)
      promise.deliver(to_caf(reason));
    waiting_.clear();
    return self_->quit();
  }
  self_->delayed_send(deployment_self{self_}, reopen_pause, tick{});
}

void deployment_state::opened(const node_id& node, const replica_status&,
                              const sampler_actor& replica) {
  self_->demonitor(agent_);
  agent_ = nullptr;
  replica_ = replica;
  node_ = node;
  self_->monitor(replica_);
  if (version_ > 0) return catch_up();
  serve();
}

void deployment_state::catch_up() {
  auto syncer = spawn_weight_syncer(self_->system(), config_.store, {replica_, node_, version_});
  ask(
      self_, syncer, deadlines::sync, sync_request{id_, checkpoint_},
      [this](const sync_reply&) { serve(); }, [this](const error& e) { open_failed(e); });
}

void deployment_state::serve() {
  serving_ = true;
  tell(self_, config_.manager, deployment_changed{info()});
  for (auto& [request, promise] : std::exchange(waiting_, {}))
    forward(request, promise);
}

caf::result<sample_reply> deployment_state::sample(const sample_request& request) {
  if (request.prompt.empty() ||
      request.prompt.size() + request.params.max_tokens > config_.model.max_positions) {
    return to_caf({errc::invalid_argument,
                   "a prompt of " + std::to_string(request.prompt.size()) + " tokens and " +
                       std::to_string(request.params.max_tokens) + " new ones do not fit into " +
                       std::to_string(config_.model.max_positions) + " positions",
                   "", "shorten the prompt or lower max_tokens"});
  }
  auto promise = self_->make_response_promise<sample_reply>();
  if (serving_) {
    forward(request, promise);
  } else if (waiting_.size() < limits::sampler_waiting_max) {
    waiting_.emplace_back(request, promise);
  } else {
    return to_caf({errc::busy, "no replica serves yet and the queue is full", "", "try later"});
  }
  return promise;
}

void deployment_state::forward(const sample_request& request, sample_promise promise) {
  const std::uint64_t number = ++num_forwarded_;
  active_.emplace(number, std::pair{request, promise});
  ask(
      self_, replica_, deadlines::sample, request,
      [this, number, promise](const sample_reply& reply) mutable {
        if (active_.erase(number) > 0) promise.deliver(reply);
      },
      [this, number, promise](const error& e) mutable {
        // When the replica is lost, its going down hands the request to the next one.
        if (e.code != errc::peer_lost && active_.erase(number) > 0) promise.deliver(to_caf(e));
      });
}

caf::result<sync_reply> deployment_state::sync(const sync_request& request) {
  if (syncing_ || !serving_) {
    return to_caf({errc::busy, "deployment " + id_.value + " takes no sync at this moment",
                   syncing_ ? "another sync is under way" : "no replica serves yet", "try again"});
  }
  syncing_ = true;
  auto promise = self_->make_response_promise<sync_reply>();
  auto syncer =
      spawn_weight_syncer(self_->system(), config_.store, {replica_, node_, version_ + 1});
  ask(
      self_, syncer, deadlines::sync, request,
      [this, promise](const sync_reply& reply) mutable {
        version_ = reply.version;
        checkpoint_ = reply.checkpoint;
        remember(reply, promise);
      },
      [this, promise](const error& e) mutable {
        syncing_ = false;
        promise.deliver(to_caf(e));
      });
  return promise;
}

/// The sync counts when a restarted control node would serve the same.
void deployment_state::remember(const sync_reply& reply,
                                caf::typed_response_promise<sync_reply> promise) {
  config_.record.version = version_;
  config_.record.checkpoint = checkpoint_;
  ask(
      self_, config_.store, deadlines::store, put_deployment_request{config_.record},
      [this, reply, promise](const done&) mutable {
        syncing_ = false;
        tell(self_, config_.manager, deployment_changed{info()});
        promise.deliver(reply);
      },
      [this, promise](const error& e) mutable {
        syncing_ = false;
        promise.deliver(to_caf(e));
      });
}

deployment_info deployment_state::info() const {
  return {id_, version_, checkpoint_, serving_ ? 1U : 0U, active_.size(), config_.model};
}

deployment_self::behavior_type deployment_state::make_behavior() {
  return {
      [this](const sample_request& r) { return sample(r); },
      [this](const sync_request& r) { return sync(r); },
      [this](const deployment_status_request&) -> caf::result<deployment_info> { return info(); },
      [this](tick) { open_replica(); },
  };
}

deployment_actor spawn_deployment(caf::actor_system& system, deployment_config config) {
  using impl = caf::stateful_actor<deployment_state, deployment_self::impl>;
  return system.spawn<impl>(std::move(config));
}

}  // namespace troupe::actors
