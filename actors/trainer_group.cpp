#include "actors/trainer_group.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "actors/runtime/ask.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {

struct trainer_group_state::forming {
  form_group request;
  caf::typed_response_promise<group_formed> promise;
  std::vector<node_id> nodes;
  std::vector<node_agent_actor> agents;
  std::vector<trainer_shard_actor> shards;
  std::vector<std::string> addresses;
  std::size_t num_missing = 0;
  std::string comm_token;
  group_formed formed;
  bool failed = false;
};

struct trainer_group_state::working {
  std::uint64_t incarnation = 0;
  caf::typed_response_promise<group_reply> promise;
  group_reply reply;
  std::vector<std::optional<error>> errors;
  std::size_t num_missing = 0;
  bool is_beside = false;  ///< its failure says nothing about the shards
  bool has_turn = false;   ///< or waits for it
};

trainer_group_state::trainer_group_state(trainer_group_actor::pointer self, training_run_actor run,
                                         job_manager_actor manager)
    : self_(self), run_(std::move(run)), manager_(std::move(manager)) {
  self_->set_down_handler([this](const caf::down_msg& message) { down(message.source); });
}

// A request to a node that is gone stays unanswered until its deadline: whoever is asked for
// something is monitored, too.
void trainer_group_state::down(const caf::actor_addr& source) {
  const auto is_source = [&source](const auto& actor) {
    return actor && actor.address() == source;
  };
  if (std::any_of(shards_.begin(), shards_.end(), is_source)) {
    return lost({errc::peer_lost, "a trainer shard went away", "its process or machine ended", ""});
  }
  if (!forming_) return;
  const auto& agents = forming_->agents;
  const auto& shards = forming_->shards;
  if (std::any_of(agents.begin(), agents.end(), is_source) ||
      std::any_of(shards.begin(), shards.end(), is_source)) {
    fail_forming(forming_, {errc::peer_lost, "a node went away while the shards were formed",
                            "its process or machine ended", ""});
  }
}

void trainer_group_state::silent(const node_id& node) {
  const auto holds = [&node](const std::vector<node_id>& nodes) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
  };
  const error reason{errc::peer_lost, "node " + node.value + " fell silent",
                     "it is paused, overloaded or cut off", ""};
  if (forming_ && holds(forming_->nodes)) return fail_forming(forming_, reason);
  if (holds(nodes_)) lost(reason);
}

void trainer_group_state::drop_shards() {
  for (std::uint32_t rank = 0; rank < shards_.size(); ++rank) {
    if (!shards_[rank]) continue;
    self_->demonitor(shards_[rank]);
    close(shards_[rank], identity_.incarnation, rank);
  }
  shards_.clear();
}

/// One that never hears it ends with its node's lease, or when a newer one is opened there.
void trainer_group_state::close(const trainer_shard_actor& shard, std::uint64_t incarnation,
                                std::uint32_t rank) {
  auto id = identity_;
  id.incarnation = incarnation;
  id.rank = rank;
  ask(
      self_, shard, deadlines::control, close_shard_request{id}, [](const done&) {},
      [](const error&) {});
}

void trainer_group_state::lost(const error& reason) {
  if (shards_.empty()) return;
  drop_shards();
  for (const auto& round : std::exchange(rounds_, {})) {
    end_turn_of(*round);
    if (round->promise.pending()) round->promise.deliver(to_caf(reason));
  }
  tell(self_, run_, group_lost{identity_.incarnation, reason});
}

caf::result<group_formed> trainer_group_state::form(const form_group& request) {
  drop_shards();
  hosting_ = "run " + request.run.value;
  tenant_ = request.tenant;
  share_ = request.lora ? node_share::slot : node_share::whole;
  tell(self_, manager_, release_nodes{hosting_});
  identity_ = {request.run, request.incarnation, 0, request.world_size};
  num_given_ = 0;
  auto form = std::make_shared<forming>();
  form->request = request;
  form->promise = self_->make_response_promise<group_formed>();
  form->shards.resize(request.world_size);
  form->addresses.resize(request.world_size);
  form->num_missing = request.world_size;
  forming_ = form;
  ask(
      self_, manager_, deadlines::capacity + deadlines::control,
      acquire_nodes{node_role::trainer, request.world_size, hosting_, request.incarnation, share_},
      [this, form](const node_grant& grant) {
        form->comm_token = grant.comm_token;
        form->nodes = grant.nodes;
        form->agents = grant.agents;
        for (const auto& agent : grant.agents)
          self_->monitor(agent);
        for (std::uint32_t rank = 0; rank < grant.agents.size(); ++rank) {
          open_rank(form, rank, grant.agents[rank]);
        }
      },
      [this, form](const error& e) { fail_forming(form, e); });
  return form->promise;
}

void trainer_group_state::fail_forming(forming_ptr form, const error& reason) {
  if (form->failed) return;
  form->failed = true;
  if (forming_ == form) forming_ = nullptr;
  for (std::uint32_t rank = 0; rank < form->shards.size(); ++rank) {
    if (form->shards[rank]) close(form->shards[rank], form->request.incarnation, rank);
  }
  tell(self_, manager_, release_nodes{hosting_});
  form->promise.deliver(to_caf(reason));
}

void trainer_group_state::open_rank(const forming_ptr& form, std::uint32_t rank,
                                    const node_agent_actor& agent) {
  auto id = identity_;
  id.rank = rank;
  const auto& request = form->request;
  self_
      ->request(agent, deadlines::shard_open,
                open_shard_request{id, request.model, request.seed, form->comm_token, request.lora,
                                   request.shard_size})
      .then(
          [this, form, rank](const open_shard_reply& reply, const trainer_shard_actor& shard) {
            form->addresses[rank] = reply.comm_address;
            form->shards[rank] = shard;
            if (form->failed) return close(shard, form->request.incarnation, rank);
            self_->monitor(shard);
            if (--form->num_missing == 0) {
              start_ranks(form);
            }
          },
          [this, form](const caf::error& e) { fail_forming(form, from_caf(e)); });
}

void trainer_group_state::start_ranks(const forming_ptr& form) {
  form->num_missing = form->shards.size();
  for (std::uint32_t rank = 0; rank < form->shards.size(); ++rank) {
    auto id = identity_;
    id.rank = rank;
    start_shard_request start{id, form->addresses, form->request.resume, form->request.published,
                              form->request.published_chain};
    ask(
        self_, form->shards[rank], deadlines::shard_open, std::move(start),
        [this, form](const start_shard_reply& reply) {
          config::failpoint("l2");
          form->formed.model = reply.model;
          form->formed.weights += reply.weights;
          if (form->failed || --form->num_missing > 0) return;
          shards_ = form->shards;
          nodes_ = form->nodes;
          forming_ = nullptr;
          for (const auto& shard : shards_)
            self_->monitor(shard);
          form->formed.incarnation = form->request.incarnation;
          form->promise.deliver(form->formed);
        },
        [this, form](const error& e) { fail_forming(form, e); });
  }
}

caf::result<group_reply> trainer_group_state::work(const group_work& request) {
  if (request.incarnation != identity_.incarnation || shards_.size() != request.bodies.size()) {
    return to_caf({errc::peer_lost, "the set of shards was replaced", "a shard was lost", ""});
  }
  auto round = std::make_shared<working>();
  round->incarnation = request.incarnation;
  round->promise = self_->make_response_promise<group_reply>();
  round->reply.ranks.resize(shards_.size());
  round->errors.resize(shards_.size());
  round->num_missing = shards_.size();
  round->is_beside = std::holds_alternative<shard_write_captured>(request.bodies.front());
  rounds_.push_back(round);
  auto bodies = std::make_shared<group_work>(request);
  // Whoever is alone on its nodes need not ask, and a snapshot is written beside ops.
  if (share_ == node_share::whole || round->is_beside) {
    send(round, *bodies);
    return round->promise;
  }
  round->has_turn = true;
  ask(
      self_, manager_, deadlines::turn, take_turn{hosting_, tenant_, nodes_},
      [this, round, bodies](const done&) { send(round, *bodies); },
      [this, round](const error& e) { give_up(round, e); });
  return round->promise;
}

/// Its set may have been lost while it waited for its turn.
void trainer_group_state::send(const std::shared_ptr<working>& round, group_work& work) {
  if (std::find(rounds_.begin(), rounds_.end(), round) == rounds_.end()) return;
  ++num_given_;
  for (std::uint32_t rank = 0; rank < shards_.size(); ++rank) {
    auto id = identity_;
    id.rank = rank;
    ask(
        self_, shards_[rank], deadlines::shard_work,
        shard_work{id, work.seq_id, std::move(work.bodies[rank]), num_given_},
        [this, round, rank](const shard_work_reply& reply) {
          round->reply.ranks[rank] = reply;
          settle(round);
        },
        [this, round, rank, id, seq_id = work.seq_id](const error& e) {
          if (config::is_planted(config::bug::lost_is_done) && is_lost(e)) {
            round->reply.ranks[rank].identity = id;
            round->reply.ranks[rank].seq_id = seq_id;
          } else {
            round->errors[rank] = e;
          }
          settle(round);
        });
    config::failpoint("t2", work.seq_id);
  }
}

void trainer_group_state::give_up(const std::shared_ptr<working>& round, const error& reason) {
  if (std::erase(rounds_, round) == 0) return;
  end_turn_of(*round);
  if (round->promise.pending()) round->promise.deliver(to_caf(reason));
  if (round->incarnation == identity_.incarnation && !round->is_beside) lost(reason);
}

void trainer_group_state::end_turn_of(const working& round) {
  if (round.has_turn) tell(self_, manager_, end_turn{hosting_});
}

void trainer_group_state::settle(const std::shared_ptr<working>& round) {
  const auto is_fatal = [](const auto& e) {
    return e && category_of(e->code) != error_category::user;
  };
  const auto fatal = std::find_if(round->errors.begin(), round->errors.end(), is_fatal);
  if (fatal != round->errors.end()) return give_up(round, **fatal);
  if (--round->num_missing > 0 || !round->promise.pending()) return;
  std::erase(rounds_, round);
  end_turn_of(*round);
  const auto failed = std::count_if(round->errors.begin(), round->errors.end(),
                                    [](const auto& e) { return e.has_value(); });
  if (failed == 0) {
    round->promise.deliver(std::move(round->reply));
  } else if (static_cast<std::size_t>(failed) == round->errors.size()) {
    round->promise.deliver(to_caf(*round->errors.front()));
  } else {
    const error split{errc::peer_lost, "ranks do not agree on the outcome of an op",
                      "one rank refused what the others did", ""};
    round->promise.deliver(to_caf(split));
    if (round->incarnation == identity_.incarnation && !round->is_beside) lost(split);
  }
}

trainer_group_actor::behavior_type trainer_group_state::make_behavior() {
  return {
      [this](const form_group& r) { return form(r); },
      [this](const group_work& r) { return work(r); },
      [this](const node_silent& r) { silent(r.node); },
      [this](close_group) {
        drop_shards();
        tell(self_, manager_, release_nodes{hosting_});
      },
  };
}

trainer_group_actor spawn_trainer_group(caf::actor_system& system, training_run_actor run,
                                        job_manager_actor manager) {
  using impl = caf::stateful_actor<trainer_group_state, trainer_group_actor::impl>;
  return system.spawn<impl>(std::move(run), std::move(manager));
}

}  // namespace troupe::actors
