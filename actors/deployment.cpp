#include "actors/deployment.hpp"

#include <algorithm>
#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/weight_syncer.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "gpu/token_choice.hpp"

namespace troupe::actors {
namespace {

/// A request that outlived this many replicas probably ends them.
constexpr std::uint32_t attempts_max = 8;

}  // namespace

/// One sync on its way through the replicas.
struct deployment_state::sync_round {
  sync_request request;
  caf::typed_response_promise<sync_reply> promise;
  std::set<std::uint32_t> open;      ///< places that have not ended it
  std::optional<error> failure;      ///< of the first replica that failed
  std::optional<sync_reply> merged;  ///< of those that committed
};

deployment_state::deployment_state(deployment_self::pointer self, deployment_config config)
    : self_(self),
      config_(std::move(config)),
      id_{config_.record.request.name},
      version_(config_.record.version),
      checkpoint_(config_.record.checkpoint) {
  self_->set_down_handler([this](const caf::down_msg& down) { went_down(down.source); });
  adjust();
}

deployment_state::~deployment_state() {
  for (const auto& [number, p] : places_) {
    if (p.replica) caf::anon_send_exit(p.replica, caf::exit_reason::user_shutdown);
  }
}

// -- requests ------------------------------------------------------------------------------------

caf::result<sample_reply> deployment_state::sample(const sample_request& request) {
  open_request open;
  open.request = request;
  open.origin = origin_of(request.ticket);
  open.promise = self_->make_response_promise<sample_reply>();
  auto promise = open.promise;
  begin(std::move(open));
  return promise;
}

/// What is wrong with a request whatever is served.
std::optional<error> deployment_state::misfit(const sample_request& request) const {
  const std::uint64_t positions = config_.model.max_positions;
  if (request.num_samples < 1 || request.num_samples > limits::samples_per_request_max) {
    return error{errc::invalid_argument,
                 "a request for " + std::to_string(request.num_samples) + " samples",
                 "num_samples is out of range",
                 "ask for 1 to " + std::to_string(limits::samples_per_request_max)};
  }
  if (const auto ok = gpu::check_sampling(request.params); !ok) return ok.error();
  if (request.prompt.empty() || request.prompt.size() + request.params.max_tokens > positions) {
    return error{errc::invalid_argument,
                 "a prompt of " + std::to_string(request.prompt.size()) + " tokens and " +
                     std::to_string(request.params.max_tokens) + " new ones do not fit into " +
                     std::to_string(positions) + " positions",
                 "prompt and answer share the positions of the model, and a prompt has a token",
                 "shorten the prompt or lower max_tokens"};
  }
  return std::nullopt;
}

/// Every request, whole or stream, comes through here once.
void deployment_state::begin(open_request open) {
  watch(open.origin);
  if (const auto wrong = misfit(open.request)) return refuse(open, *wrong);
  if (open.origin.ticket != 0 && find(open.origin) != nullptr) {
    return refuse(open, {errc::already_exists,
                         "request " + std::to_string(open.origin.ticket) + " is open already",
                         "a client used a number twice", "give each open request its own ticket"});
  }
  route(std::move(open));
}

/// Now, or when the reader of its stream asks next.
void deployment_state::tell(open_request& open, const error& reason) {
  if (!open.stream) return open.promise.deliver(to_caf(reason));
  if (!open.stream->is_opened) return open.stream->opened.deliver(to_caf(reason));
  if (open.stream->reader) return open.stream->reader->deliver(to_caf(reason));
  ended_[open.origin] = {reason, now(self_->system())};
}

/// Ends a request that no replica has.
void deployment_state::refuse(open_request& open, const error& reason) {
  tell(open, reason);
  release(open.origin);
}

/// Why no replica can answer, now or soon.
std::optional<error> deployment_state::refusal(const sample_request& request) const {
  std::uint64_t newest = version_;
  for (const auto& [number, p] : places_)
    newest = std::max(newest, p.version);
  if (request.min_version > newest) {
    return error{errc::busy,
                 "version " + std::to_string(request.min_version) + " is not live yet, " +
                     std::to_string(newest) + " is",
                 "a sync is under way, or was never asked for", "ask again, or sync first"};
  }
  if (request.max_version < version_ && !round_) {
    return error{errc::not_found,
                 "version " + std::to_string(request.max_version) + " is not served any more, " +
                     std::to_string(version_) + " is",
                 "newer weights went live", "ask for the live version, or sync the wanted one"};
  }
  return std::nullopt;
}

void deployment_state::route(open_request open) {
  if (const auto refused = refusal(open.request)) return refuse(open, *refused);
  if (open.stream && open.stream->next_chunk > 0) {
    return refuse(open, {errc::peer_lost, "the replica went away in the middle of a stream",
                         "its process or machine ended", "ask for a new stream"});
  }
  if (open.attempts >= attempts_max) {
    return refuse(open,
                  {errc::peer_lost,
                   std::to_string(open.attempts) + " replicas ended while they decoded the request",
                   "nodes go away quickly, or this request ends them",
                   "send it again, or look at the log of the samplers"});
  }
  if (!find_adapter(open.request)) return wait(std::move(open));
  std::vector<logic::routing_candidate> candidates;
  for (const auto& [number, p] : places_) {
    const bool fits = p.version >= open.request.min_version &&
                      p.version <= open.request.max_version && p.phase == replica_phase::serving;
    if (fits) candidates.push_back({number, p.load});
  }
  if (const auto chosen = router_.choose(open.request.prompt, candidates)) {
    return forward(std::move(open), *chosen);
  }
  wait(std::move(open));
}

/// For a replica, or for the record of its adapter.
void deployment_state::wait(open_request open) {
  if (waiting_.size() >= limits::sampler_waiting_max) {
    return refuse(open, {errc::busy, "no replica serves and the queue is full",
                         "replicas are starting, or too many clients ask", "try later"});
  }
  waiting_.push_back(std::move(open));
}

void deployment_state::forward(open_request open, std::uint32_t number) {
  const std::uint64_t id = ++num_forwarded_;
  place& p = places_.at(number);
  open.place = number;
  ++open.attempts;
  p.load += open.request.num_samples;
  const auto& kept = active_.emplace(id, std::move(open)).first->second;
  if (kept.origin.ticket != 0) by_ticket_[kept.origin] = id;
  if (kept.stream) return forward_stream(id);
  sample_request request = kept.request;
  request.ticket = id;
  ask(
      self_, p.replica, deadlines::sample, std::move(request),
      [this, id, promise = kept.promise](const sample_reply& reply) mutable {
        if (!active_.contains(id)) return;
        promise.deliver(reply);
        answered(id);
      },
      [this, id](const error& e) {
        // When the replica is lost, its going down hands the request to another one.
        if (e.code != errc::peer_lost) end_active(id, e);
      });
}

/// Ends a request that a replica has, or had.
void deployment_state::end_active(std::uint64_t request, const error& reason) {
  const auto found = active_.find(request);
  if (found == active_.end()) return;
  tell_cancelled(request);
  tell(found->second, reason);
  answered(request);
}

/// Its client has been told; its replica is done with it, too, or soon will be.
void deployment_state::answered(std::uint64_t request) {
  const auto done = active_.extract(request);
  const open_request& open = done.mapped();
  release(open.origin);
  by_ticket_.erase(open.origin);
  const auto found = places_.find(open.place);
  if (found == places_.end()) return;
  place& p = found->second;
  p.load -= std::min<std::uint64_t>(p.load, open.request.num_samples);
  ++p.answered;
  close_if_idle(open.place);
}

// -- versions ------------------------------------------------------------------------------------

caf::result<sync_reply> deployment_state::sync(const sync_request& request) {
  if (round_ || num_serving() == 0) {
    return to_caf({errc::busy, "deployment " + id_.value + " takes no sync at this moment",
                   round_ ? "another sync is under way" : "no replica serves yet", "try again"});
  }
  auto round = std::make_shared<sync_round>();
  round->request = request;
  round->promise = self_->make_response_promise<sync_reply>();
  for (const auto& [number, p] : places_) {
    if (p.phase == replica_phase::serving) round->open.insert(number);
  }
  round_ = round;
  for (const std::uint32_t number : round->open)
    sync_place(round, number);
  return round->promise;
}

void deployment_state::sync_place(const round_ptr& round, std::uint32_t number) {
  place& p = places_.at(number);
  auto syncer = spawn_weight_syncer(self_->system(), config_.store,
                                    {p.replica, p.node, version_ + 1, number, config_.model});
  ask(
      self_, syncer, deadlines::sync, round->request,
      [this, round, number, opening = p.opening](const sync_reply& reply) {
        if (round->open.erase(number) == 0) return;
        if (place* const synced = current(number, opening)) synced->version = reply.version;
        router_.forget(number);
        if (!round->merged) {
          round->merged = reply;
          round->merged->replicas = 0;
        }
        sync_reply& all = *round->merged;
        ++all.replicas;
        all.was_delta = all.was_delta && reply.was_delta;
        all.bytes = std::max(all.bytes, reply.bytes);
        all.stage_ms = std::max(all.stage_ms, reply.stage_ms);
        all.pause_ms = std::max(all.pause_ms, reply.pause_ms);
        all.total_ms = std::max(all.total_ms, reply.total_ms);
        all.logprob_gap_mean = std::max(all.logprob_gap_mean, reply.logprob_gap_mean);
        all.logprob_gap_max = std::max(all.logprob_gap_max, reply.logprob_gap_max);
        if (round->open.empty()) end_round(round);
      },
      [this, round, number](const error& e) { end_place(round, number, e); });
}

/// A replica that went away has failed the sync under way, whatever it answers later.
void deployment_state::end_place(const round_ptr& round, std::uint32_t number,
                                 const error& reason) {
  if (round->open.erase(number) == 0) return;
  if (!round->failure) round->failure = reason;
  if (round->open.empty()) end_round(round);
}

/// The version moves on when any replica committed it; those that did not catch up alone.
void deployment_state::end_round(const round_ptr& round) {
  if (!round->merged) {
    round_ = nullptr;
    return round->promise.deliver(to_caf(*round->failure));
  }
  version_ = round->merged->version;
  checkpoint_ = round->merged->checkpoint;
  logprob_gap_mean_ = round->merged->logprob_gap_mean;
  logprob_gap_max_ = round->merged->logprob_gap_max;
  std::vector<std::uint32_t> behind;
  for (const auto& [number, p] : places_) {
    if (p.phase == replica_phase::serving && p.version != version_) behind.push_back(number);
  }
  for (const std::uint32_t number : behind)
    catch_up(number);
  remember(round);
}

/// The sync counts when a restarted control node would serve the same.
void deployment_state::remember(const round_ptr& round) {
  config_.record.version = version_;
  config_.record.checkpoint = checkpoint_;
  ask(
      self_, config_.store, deadlines::store, put_deployment_request{config_.record},
      [this, round](const done&) {
        round_ = nullptr;
        changed();
        round->promise.deliver(*round->merged);
      },
      [this, round](const error& e) {
        round_ = nullptr;
        round->promise.deliver(to_caf(e));
      });
}

caf::result<deployment_info> deployment_state::scale(const scale_deployment_request& request) {
  auto wanted = config_.record;
  wanted.request.replicas = request.replicas;
  auto promise = self_->make_response_promise<deployment_info>();
  ask(
      self_, config_.store, deadlines::store, put_deployment_request{wanted},
      [this, promise, replicas = request.replicas](const done&) mutable {
        config_.record.request.replicas = replicas;
        adjust();
        changed();
        promise.deliver(info());
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

std::uint32_t deployment_state::num_serving() const {
  return static_cast<std::uint32_t>(std::ranges::count_if(
      places_, [](const auto& p) { return p.second.phase == replica_phase::serving; }));
}

deployment_info deployment_state::info() const {
  deployment_info out;
  out.deployment = id_;
  out.version = version_;
  out.checkpoint = checkpoint_;
  out.replicas = num_serving();
  out.active_sequences = active_.size();
  out.model = config_.model;
  out.wanted_replicas = config_.record.request.replicas;
  for (const auto& [number, p] : places_) {
    const auto here = std::ranges::count_if(
        active_, [number = number](const auto& open) { return open.second.place == number; });
    out.places.push_back({number, p.node, p.phase, p.version, static_cast<std::uint64_t>(here),
                          p.answered, p.restarts});
  }
  out.waiting_requests = waiting_.size();
  out.logprob_gap_mean = logprob_gap_mean_;
  out.logprob_gap_max = logprob_gap_max_;
  return out;
}

void deployment_state::changed() {
  actors::tell(self_, config_.manager, deployment_changed{info()});
}

deployment_self::behavior_type deployment_state::make_behavior() {
  return {
      [this](const sample_request& r) { return sample(r); },
      [this](const stream_sample_request& r) { return begin_stream(r); },
      [this](const read_sample_request& r) { return read(r); },
      [this](const cancel_sample_request& r) { return cancel(r); },
      [this](const sync_request& r) { return sync(r); },
      [this](const deployment_status_request&) -> caf::result<deployment_info> { return info(); },
      [this](const scale_deployment_request& r) { return scale(r); },
      [this](const node_silent& r) { silent(r.node); },
      [this](tick) {
        retry_waiting();
        end_silent_streams();
      },
  };
}

deployment_actor spawn_deployment(caf::actor_system& system, deployment_config config) {
  using impl = caf::stateful_actor<deployment_state, deployment_self::impl>;
  return system.spawn<impl>(std::move(config));
}

}  // namespace troupe::actors
