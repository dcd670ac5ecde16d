#include "actors/job_manager.hpp"

#include <algorithm>
#include <utility>

#include "actors/deployment.hpp"
#include "actors/engine_io/parameter_files.hpp"
#include "actors/runtime/ask.hpp"
#include "actors/training_run.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "gpu/models/adapters.hpp"
#include "storage/sha256.hpp"

namespace troupe::actors {
namespace {

error no_deployment(const deployment_id& wanted) {
  return {errc::not_found, "there is no deployment " + wanted.value,
          "it is mistyped, or was removed", "`troupe status` lists the deployments"};
}

}  // namespace

job_manager_state::job_manager_state(job_manager_self::pointer self, job_manager_config config)
    : self_(self), config_(std::move(config)) {
  self_->set_down_handler([this](const caf::down_msg& down) { went_down(down.source); });
  restore_runs();
  restore_deployments();
  check_leases();
}

std::uint64_t job_manager_state::now_ms() const {
  const auto since = now(self_->system()).time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

// -- runs ----------------------------------------------------------------------------------------

void job_manager_state::restore_runs() {
  ask(
      self_, config_.store, deadlines::store, list_runs_request{},
      [this](const run_list& list) {
        for (const run_record& record : list.runs) {
          auto model = open_model(record.request.model);
          start_run(record, model ? model->files->config() : model_config{});
        }
      },
      [](const error&) {});
}

void job_manager_state::start_run(const run_record& record, const model_config& model) {
  const auto every = record.request.snapshot_every_steps > 0 ? record.request.snapshot_every_steps
                                                             : config_.snapshot_every_steps;
  auto actor = spawn_training_run(self_->system(), {record, model, every, config_.store,
                                                    job_manager_actor{job_manager_self{self_}}});
  run_info info;
  info.run = record.run;
  info.model = model;
  info.model_directory = record.request.model.directory;
  info.world_size = record.request.world_size;
  runs_[record.run] = {std::move(actor), std::move(info)};
  presence_.unattended(record.run, now_ms());
}

caf::result<run_info, training_run_actor> job_manager_state::create_run(
    const create_run_request& request) {
  auto wanted = request;
  if (wanted.name.empty()) {
    do {
      wanted.name = "run-" + std::to_string(++num_runs_);
    } while (runs_.contains(run_id{wanted.name}));
  }
  const run_id id{wanted.name};
  if (runs_.contains(id)) {
    return to_caf({errc::already_exists, "run " + id.value + " exists already", "",
                   "choose another name, or attach to it"});
  }
  if (runs_.size() >= limits::runs_max) {
    return to_caf({errc::busy, "the cluster holds as many runs as it can", "", "remove old runs"});
  }
  auto model = open_model(wanted.model);
  if (!model) return to_caf(model.error());
  if (wanted.lora) {
    if (auto ok = gpu::validate(model->files->config(), *wanted.lora); !ok)
      return to_caf(ok.error());
  }
  run_record record;
  record.run = id;
  record.request = wanted;
  record.client_epoch = 1;
  const caf::actor_addr client = client_at_hand();
  auto promise = self_->make_response_promise<run_info, training_run_actor>();
  ask(
      self_, config_.store, deadlines::store, put_run_request{record},
      [this, promise, record, client, config = model->files->config()](const done&) mutable {
        start_run(record, config);
        watch_client(record.run, client);
        auto& run = runs_[record.run];
        run.info.client_epoch = record.client_epoch;
        promise.deliver(run.info, run.actor);
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

caf::result<run_info, training_run_actor> job_manager_state::attach_run(
    const attach_run_request& request) {
  const auto known = runs_.find(request.run);
  if (known == runs_.end()) {
    return to_caf({errc::not_found, "there is no run " + request.run.value, "",
                   "`troupe status` lists the runs"});
  }
  const caf::actor_addr client = client_at_hand();
  auto promise = self_->make_response_promise<run_info, training_run_actor>();
  ask(
      self_, known->second.actor, deadlines::control, request,
      [this, promise, client, actor = known->second.actor](const run_info& info) mutable {
        watch_client(info.run, client);
        promise.deliver(info, actor);
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

template <class Answer, class Request>
caf::result<Answer> job_manager_state::ask_run(const Request& request) {
  const auto known = runs_.find(request.run);
  if (known == runs_.end()) {
    return to_caf({errc::not_found, "there is no run " + request.run.value, "",
                   "`troupe status` lists the runs"});
  }
  auto promise = self_->make_response_promise<Answer>();
  relay<Answer>(self_, known->second.actor, deadlines::shard_work, request, promise);
  return promise;
}

// -- runs and their clients ----------------------------------------------------------------------

caf::actor_addr job_manager_state::client_at_hand() const {
  return caf::actor_cast<caf::actor_addr>(self_->current_sender());
}

void job_manager_state::watch_client(const run_id& run, const caf::actor_addr& client) {
  const auto handle = caf::actor_cast<caf::actor>(client);
  if (!handle) return presence_.unattended(run, now_ms());
  presence_.attended(run, to_string(client));
  if (clients_.insert(client).second) self_->monitor(handle);
}

void job_manager_state::went_down(const caf::actor_addr& source) {
  for (const auto& [id, agent] : agents_) {
    if (agent.address() == source) return node_left(node_id{id});
  }
  if (clients_.erase(source) > 0) presence_.left(to_string(source), now_ms());
}

void job_manager_state::run_did_change(const run_info& info) {
  run_info& known = runs_[info.run].info;
  if (info.committed_seq_id != known.committed_seq_id) presence_.worked(info.run, now_ms());
  known = info;
}

/// A run that still works at an op refuses, and is asked again.
void job_manager_state::park_idle_runs() {
  const auto after_ms = static_cast<std::uint64_t>(config_.park_idle_runs_after.count());
  if (after_ms == 0) return;
  for (const run_id& run : presence_.idle(now_ms(), after_ms)) {
    const auto known = runs_.find(run);
    if (known == runs_.end() || known->second.info.phase != run_phase::ready) continue;
    tell(self_, known->second.actor,
         park_idle{"its client has been gone for " + std::to_string(after_ms / 1000) +
                   " s; its next op takes nodes again"});
  }
}

// -- deployments ---------------------------------------------------------------------------------

caf::result<deployment_info, deployment_actor> job_manager_state::create_deployment(
    const create_deployment_request& request) {
  const deployment_id id{request.name};
  if (!is_valid_name(request.name)) {
    return to_caf({errc::invalid_argument, "'" + request.name + "' cannot name a deployment",
                   "it is empty, too long or has other characters",
                   "use 1 to 128 characters of [A-Za-z0-9._-]"});
  }
  if (deployments_.contains(id)) {
    return to_caf({errc::already_exists, "deployment " + id.value + " exists already",
                   "somebody made it before", "choose another name, or sync that one"});
  }
  auto model = open_model(request.model);
  if (!model) return to_caf(model.error());
  const deployment_record record{request, 0, {}};
  auto promise = self_->make_response_promise<deployment_info, deployment_actor>();
  ask(
      self_, config_.store, deadlines::store, put_deployment_request{record},
      [this, promise, record, id, config = model->files->config()](const done&) mutable {
        start_deployment(record, config);
        promise.deliver(deployments_[id].info, deployments_[id].actor);
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

void job_manager_state::start_deployment(const deployment_record& record,
                                         const model_config& model) {
  auto actor = spawn_deployment(
      self_->system(), {record, model, config_.store, job_manager_actor{job_manager_self{self_}}});
  deployment_info info;
  info.wanted_replicas = record.request.replicas;
  info.deployment = deployment_id{record.request.name};
  info.version = record.version;
  info.checkpoint = record.checkpoint;
  info.model = model;
  deployments_[info.deployment] = {std::move(actor), info};
}

void job_manager_state::restore_deployments() {
  ask(
      self_, config_.store, deadlines::store, list_deployments_request{},
      [this](const deployment_list& list) {
        for (const deployment_record& record : list.deployments) {
          if (auto model = open_model(record.request.model)) {
            start_deployment(record, model->files->config());
          }
        }
      },
      [](const error&) {});
}

caf::result<done> job_manager_state::remove_deployment(const remove_deployment_request& request) {
  const auto known = deployments_.find(request.deployment);
  if (known == deployments_.end()) {
    return to_caf(no_deployment(request.deployment));
  }
  caf::anon_send_exit(known->second.actor, caf::exit_reason::user_shutdown);
  deployments_.erase(known);
  release("deployment " + request.deployment.value);
  auto promise = self_->make_response_promise<done>();
  relay<done>(self_, config_.store, deadlines::store, forget_deployment_request{request.deployment},
              promise);
  return promise;
}

caf::result<deployment_info> job_manager_state::scale_deployment(
    const scale_deployment_request& request) {
  const auto known = deployments_.find(request.deployment);
  if (known == deployments_.end()) {
    return to_caf(no_deployment(request.deployment));
  }
  auto promise = self_->make_response_promise<deployment_info>();
  relay<deployment_info>(self_, known->second.actor, deadlines::control, request, promise);
  return promise;
}

// -- nodes ---------------------------------------------------------------------------------------

caf::result<done> job_manager_state::join(const attach_request& request,
                                          const node_agent_actor& agent) {
  if (auto joined = nodes_.join(request, now_ms()); !joined) return to_caf(joined.error());
  agents_[request.node] = agent;
  self_->monitor(agent);
  grant_waiting();
  return done{};
}

void job_manager_state::node_left(const node_id& node) {
  for (const auto& run : runs_among(nodes_.hosting(node)))
    tell(self_, run, node_silent{node});
  for (const auto& [id, deployment] : deployments_)
    tell(self_, deployment.actor, node_silent{node});
  nodes_.leave(node);
  agents_.erase(node);
  leaving_.erase(node);
}

/// A sampler's requests go to its successor without loss; only a run must move first.
caf::result<done> job_manager_state::node_leaving(const node_leaving_request& request) {
  const auto runs = runs_among(nodes_.set_leaving(request.node));
  for (const auto& run : runs)
    tell(self_, run, move_away{"node " + request.node.value + " will leave"});
  if (runs.empty()) return done{};
  auto promise = self_->make_response_promise<done>();
  leaving_[request.node] = promise;
  return promise;
}

std::vector<training_run_actor> job_manager_state::runs_among(
    const std::vector<std::string>& hosting) const {
  std::vector<training_run_actor> out;
  for (const auto& [id, run] : runs_) {
    if (std::find(hosting.begin(), hosting.end(), "run " + id.value) != hosting.end())
      out.push_back(run.actor);
  }
  return out;
}

void job_manager_state::let_leave() {
  for (auto it = leaving_.begin(); it != leaving_.end();) {
    const bool is_free = nodes_.hosting(it->first).empty();
    if (is_free) it->second.deliver(done{});
    it = is_free ? leaving_.erase(it) : std::next(it);
  }
}

/// When this process itself was paused nobody could renew: the nodes get one more interval.
void job_manager_state::check_leases() {
  const auto lease = static_cast<std::uint64_t>(deadlines::lease.count());
  const std::uint64_t last = std::exchange(leases_checked_ms_, now_ms());
  const bool was_paused = last != 0 && now_ms() - last > lease / 2;
  if (!was_paused) {
    for (const node_id& node : nodes_.expired(now_ms(), lease))
      node_left(node);
  }
  grant_waiting();
  park_idle_runs();
  self_->delayed_send(job_manager_self{self_}, deadlines::lease_renewal, tick{});
}

std::optional<node_grant> job_manager_state::try_grant(const acquire_nodes& request) {
  auto taken = nodes_.acquire(request.role, request.count, request.hosting, request.share);
  if (!taken) return std::nullopt;
  node_grant grant;
  const std::string seed =
      config_.join_token + "/" + request.hosting + "/" + std::to_string(request.incarnation);
  grant.comm_token = storage::sha256_hex(std::as_bytes(std::span(seed)));
  for (const node_id& node : *taken) {
    grant.nodes.push_back(node);
    grant.agents.push_back(agents_.at(node));
  }
  return grant;
}

caf::result<node_grant> job_manager_state::acquire(const acquire_nodes& request) {
  if (auto grant = try_grant(request)) return std::move(*grant);
  auto promise = self_->make_response_promise<node_grant>();
  waiting_.push_back({request, promise, now(self_->system())});
  return promise;
}

void job_manager_state::release(const std::string& hosting) {
  const auto is_meant = [&hosting](const waiting_grant& waiting) {
    return logic::is_within(waiting.request.hosting, hosting);
  };
  for (auto& waiting : waiting_) {
    if (!is_meant(waiting)) continue;
    waiting.promise.deliver(
        to_caf({errc::cancelled, hosting + " needs no nodes any more", "", ""}));
  }
  std::erase_if(waiting_, is_meant);
  nodes_.release(hosting);
  end_turn_of(hosting);
  let_leave();
  grant_waiting();
}

/// CAF's name of the host; nodes that are gone share one.
std::string job_manager_state::machine_of(const node_id& node) const {
  const auto agent = agents_.find(node);
  if (agent == agents_.end()) return {};
  const std::string process = to_string(agent->second.node());
  return process.substr(0, process.find('#'));
}

caf::result<done> job_manager_state::take(const take_turn& request) {
  end_turn_of(request.hosting);
  const double now_s = static_cast<double>(now_ms()) / 1000;
  logic::work_turns::turn wanted{request.hosting, request.tenant, {}};
  for (const node_id& node : request.nodes)
    wanted.places.push_back({node, machine_of(node)});
  if (turns_.take(std::move(wanted), now_s)) return done{};
  auto promise = self_->make_response_promise<done>();
  turn_waiters_.insert_or_assign(request.hosting, promise);
  return promise;
}

void job_manager_state::end_turn_of(const std::string& hosting) {
  if (auto waiter = turn_waiters_.extract(hosting)) {
    waiter.mapped().deliver(to_caf({errc::cancelled, hosting + " waits no more", "", ""}));
  }
  for (const std::string& next : turns_.end(hosting, static_cast<double>(now_ms()) / 1000)) {
    if (auto waiter = turn_waiters_.extract(next)) waiter.mapped().deliver(done{});
  }
}

void job_manager_state::grant_waiting() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (auto grant = try_grant(it->request)) {
      it->promise.deliver(std::move(*grant));
      it = waiting_.erase(it);
    } else if (now(self_->system()) - it->since > deadlines::capacity) {
      const auto role = std::string(to_string(it->request.role));
      it->promise.deliver(
          to_caf({errc::no_capacity,
                  it->request.hosting + " needs " + std::to_string(it->request.count) + " idle " +
                      role + " nodes, the cluster has " +
                      std::to_string(nodes_.num_of(it->request.role)) + " in all",
                  "nodes are missing or serve something else", "add " + role + " nodes"}));
      it = waiting_.erase(it);
    } else {
      ++it;
    }
  }
}

cluster_status job_manager_state::status() const {
  cluster_status out{config_.cluster, config_.storage_root, nodes_.status(now_ms()), {}, {}};
  for (const auto& [id, run] : runs_)
    out.runs.push_back(run.info);
  for (const auto& [id, deployment] : deployments_)
    out.deployments.push_back(deployment.info);
  return out;
}

job_manager_state::~job_manager_state() {
  end_owned();
}

void job_manager_state::end_owned() {
  for (const auto& [id, run] : runs_) {
    caf::anon_send_exit(run.actor, caf::exit_reason::user_shutdown);
  }
  for (const auto& [id, deployment] : deployments_) {
    caf::anon_send_exit(deployment.actor, caf::exit_reason::user_shutdown);
  }
}

caf::result<done> job_manager_state::shut_down(const shutdown_request& request) {
  end_owned();
  for (const auto& [id, agent] : agents_) {
    self_->demonitor(agent);
    ask(
        self_, agent, deadlines::control, request, [](const done&) {}, [](const error&) {});
  }
  if (config_.on_shutdown) config_.on_shutdown();
  return done{};
}

job_manager_self::behavior_type job_manager_state::make_behavior() {
  return {
      [this](const create_run_request& r) { return create_run(r); },
      [this](const attach_run_request& r) { return attach_run(r); },
      [this](const create_deployment_request& r) { return create_deployment(r); },
      [this](const deployment_status_request& r) -> caf::result<deployment_info, deployment_actor> {
        const auto known = deployments_.find(r.deployment);
        if (known == deployments_.end()) {
          return to_caf(no_deployment(r.deployment));
        }
        auto promise = self_->make_response_promise<deployment_info, deployment_actor>();
        promise.deliver(known->second.info, known->second.actor);
        return promise;
      },
      [this](const run_events_request& r) { return ask_run<run_events_reply>(r); },
      [this](const park_run_request& r) { return ask_run<run_info>(r); },
      [this](const acknowledge_rollback_request& r) { return ask_run<run_info>(r); },
      [this](const node_leaving_request& r) { return node_leaving(r); },
      [this](const remove_deployment_request& r) { return remove_deployment(r); },
      [this](const scale_deployment_request& r) { return scale_deployment(r); },
      [this](const cluster_status_request&) -> caf::result<cluster_status> { return status(); },
      [this](const renew_lease_request& r) -> caf::result<done> {
        if (nodes_.renew(r.node, now_ms())) return done{};
        return to_caf({errc::fenced, "node " + r.node.value + " lost its lease",
                       "it was silent for too long", "join again"});
      },
      [this](const shutdown_request& r) { return shut_down(r); },
      [this](const attach_request& r, const node_agent_actor& agent) { return join(r, agent); },
      [this](const acquire_nodes& r) { return acquire(r); },
      [this](const release_nodes& r) { release(r.hosting); },
      [this](const take_turn& r) { return take(r); },
      [this](const end_turn& r) { end_turn_of(r.hosting); },
      [this](const run_changed& changed) { run_did_change(changed.info); },
      [this](const deployment_changed& changed) {
        const auto known = deployments_.find(changed.info.deployment);
        if (known != deployments_.end()) known->second.info = changed.info;
      },
      [this](tick) { check_leases(); },
  };
}

job_manager_actor spawn_job_manager(caf::actor_system& system, job_manager_config config) {
  using impl = caf::stateful_actor<job_manager_state, job_manager_self::impl>;
  return system.spawn<impl>(std::move(config));
}

}  // namespace troupe::actors
