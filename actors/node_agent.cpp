#include "actors/node_agent.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/sampler.hpp"
#include "actors/trainer_shard.hpp"
#include "actors/weight_stager.hpp"
#include "config/deadlines.hpp"

namespace troupe::actors {
namespace {

node_share share_of(const open_shard_request& request) {
  return request.lora ? node_share::slot : node_share::whole;
}

error replaced_control() {
  return {errc::fenced, "the control node that asked for this was replaced", "", ""};
}

}  // namespace

node_agent_state::node_agent_state(node_agent_self::pointer self, node_context context,
                                   node_ties ties)
    : self_(self), context_(std::move(context)), ties_(std::move(ties)) {
  self_->set_down_handler([this](const caf::down_msg& message) { down(message.source); });
}

node_agent_state::~node_agent_state() {
  close_shards();
  close_sampler();
}

void node_agent_state::down(const caf::actor_addr& source) {
  std::erase_if(shards_, [&](const auto& entry) { return entry.second.actor.address() == source; });
  if (!manager_ || manager_.address() != source) return;
  manager_ = nullptr;
  ++attachment_;
  close_shards();
  close_sampler();
  ties_.control_lost();
}

void node_agent_state::attach(job_manager_actor manager) {
  if (manager_) self_->demonitor(manager_);
  ++attachment_;
  close_shards();
  close_sampler();
  manager_ = std::move(manager);
  self_->monitor(manager_);
  if (!std::exchange(is_renewing_, true)) renew_lease();
}

void node_agent_state::keep_lease() {
  if (manager_) return renew_lease();
  is_renewing_ = false;
}

void node_agent_state::renew_lease() {
  ask(
      self_, manager_, deadlines::lease, renew_lease_request{context_.node}, [](const done&) {},
      [this, attachment = attachment_](const error& e) {
        if (e.code != errc::fenced || attachment != attachment_) return;
        ties_.leave("the control node refused the lease: " + to_string(e));
        self_->quit();
      });
  self_->delayed_send(node_agent_self{self_}, deadlines::lease_renewal, tick{});
}

/// Whatever the answer, the process ends: who asked for it will not wait longer.
void node_agent_state::hand_over() {
  const auto go = [this] {
    ties_.leave({});
    self_->quit();
  };
  if (!manager_) return go();
  ask(
      self_, manager_, deadlines::notice, node_leaving_request{context_.node},
      [go](const done&) { go(); }, [go](const error&) { go(); });
}

void node_agent_state::close_shards() {
  for (const auto& [run, shard] : shards_)
    caf::anon_send_exit(shard.actor, caf::exit_reason::user_shutdown);
  shards_.clear();
}

void node_agent_state::close_sampler() {
  if (sampler_) caf::anon_send_exit(sampler_, caf::exit_reason::user_shutdown);
  sampler_ = nullptr;
}

result<void> node_agent_state::make_room(const open_shard_request& request) {
  const shard_identity& wanted = request.identity;
  const auto known = shards_.find(wanted.run);
  if (known != shards_.end() && known->second.incarnation >= wanted.incarnation) {
    return fail(errc::fenced,
                "this node serves incarnation " + std::to_string(known->second.incarnation) +
                    " of " + wanted.run.value,
                "a newer set of shards was formed");
  }
  std::erase_if(shards_, [&](const auto& entry) {
    const hosted_shard& shard = entry.second;
    const bool may_stay = entry.first != wanted.run && shard.share == node_share::slot &&
                          share_of(request) == node_share::slot;
    if (!may_stay) caf::anon_send_exit(shard.actor, caf::exit_reason::user_shutdown);
    return !may_stay;
  });
  return {};
}

engine_worker_actor node_agent_state::make_worker(std::shared_ptr<trainer_host> host) {
  // Not a handle of its own: it would keep an agent alive that nobody else knows any more.
  const auto tell_agent = [agent = self_->address()](const error& reason) {
    if (const auto living = caf::actor_cast<node_agent_self>(agent))
      caf::anon_send(living, device_lost{reason});
  };
  return spawn_engine_worker(self_->system(), context_.threads, std::move(host), tell_agent);
}

caf::result<open_shard_reply, trainer_shard_actor> node_agent_state::open(
    const open_shard_request& request) {
  if (auto ok = make_room(request); !ok) return to_caf(ok.error());
  auto host = std::make_shared<trainer_host>(*context_.engines, *context_.blobs);
  auto worker = make_worker(host);
  auto promise = self_->make_response_promise<open_shard_reply, trainer_shard_actor>();
  ask(
      self_, worker, deadlines::shard_open, request,
      [this, promise, host, worker, request,
       attachment = attachment_](const open_shard_reply& reply) mutable {
        auto shard =
            spawn_trainer_shard(self_->system(), request.identity, host, worker, make_worker(host));
        // Another set may have been asked for meanwhile.
        const result<void> ok =
            attachment == attachment_ ? make_room(request) : fail(replaced_control());
        if (!ok) {
          caf::anon_send_exit(shard, caf::exit_reason::user_shutdown);
          return promise.deliver(to_caf(ok.error()));
        }
        self_->monitor(shard);
        shards_[request.identity.run] = {request.identity.incarnation, share_of(request), shard};
        promise.deliver(reply, shard);
      },
      [promise, worker](const error& e) mutable {
        caf::anon_send_exit(worker, caf::exit_reason::user_shutdown);
        promise.deliver(to_caf(e));
      });
  return promise;
}

caf::result<replica_status, sampler_actor> node_agent_state::open(
    const open_sampler_request& request) {
  auto stager = spawn_weight_stager(self_->system(), context_);
  auto promise = self_->make_response_promise<replica_status, sampler_actor>();
  ask(
      self_, stager, deadlines::shard_open, request,
      [this, promise, stager, attachment = attachment_](const opened_engine& opened) mutable {
        if (attachment != attachment_) {
          caf::anon_send_exit(stager, caf::exit_reason::user_shutdown);
          return promise.deliver(to_caf(replaced_control()));
        }
        close_sampler();
        sampler_ = spawn_sampler(self_->system(), context_, opened, stager);
        replica_status status;
        status.node = context_.node;
        status.state = opened.state;
        promise.deliver(status, sampler_);
      },
      [promise, stager](const error& e) mutable {
        caf::anon_send_exit(stager, caf::exit_reason::user_shutdown);
        promise.deliver(to_caf(e));
      });
  return promise;
}

node_agent_self::behavior_type node_agent_state::make_behavior() {
  return {
      [this](const open_shard_request& r) { return open(r); },
      [this](const open_sampler_request& r) { return open(r); },
      [this](const shutdown_request&) -> caf::result<done> {
        close_shards();
        close_sampler();
        ties_.leave({});
        self_->quit();
        return done{};
      },
      [this](job_manager_actor& manager) { attach(std::move(manager)); },
      [this](tick) { keep_lease(); },
      [this](leave_notice) { hand_over(); },
      [this](const device_lost& lost) {
        ties_.leave(to_string(lost.reason));
        self_->quit();
      },
  };
}

node_agent_self spawn_node_agent(caf::actor_system& system, const node_context& context,
                                 node_ties ties) {
  return system.spawn<node_agent_impl>(context, std::move(ties));
}

}  // namespace troupe::actors
