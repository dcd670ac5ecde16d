#include "actors/sampler.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/runtime/clock.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/limits.hpp"

namespace troupe::actors {

sampler_state::sampler_state(sampler_self::pointer self, node_id node, opened_engine opened,
                             weight_stager_actor stager)
    : self_(self),
      node_(std::move(node)),
      engine_(std::move(opened.engine)),
      stager_(std::move(stager)),
      state_(opened.state),
      base_(opened.state),
      shelf_(limits::sampler_adapter_bytes_max, limits::sampler_adapters_max) {}

sampler_state::~sampler_state() {
  caf::anon_send_exit(stager_, caf::exit_reason::user_shutdown);
}

void sampler_state::go_on() {
  if (ticking_) return;
  ticking_ = true;
  tell(self_, sampler_self{self_}, tick{});
}

void sampler_state::admit_waiting() {
  while (const auto next = queue_.front()) {
    const sample_request& request = queue_.request(next->request);
    const bool scores = next->sample_index == 0;
    const auto adapter = request.adapter.empty() ? nullptr : adapters_.at(request.adapter);
    auto admitted = engine_->admit({next->sequence, request.prompt, request.params,
                                    next->sample_index, scores && request.prompt_logprobs,
                                    scores ? request.topk_prompt_logprobs : 0, adapter,
                                    scores ? request.prompt_targets : std::vector<token_id>()});
    if (!admitted && admitted.error().code == errc::busy) return;
    if (!admitted) {
      give_up(next->request, admitted.error());
      continue;
    }
    queue_.pop_front();
  }
}

void sampler_state::step() {
  ticking_ = false;
  if (!ending_) admit_waiting();
  auto tokens = engine_->step();
  if (!tokens) {
    std::vector<std::uint64_t> all;
    for (const auto& [number, open] : open_)
      all.push_back(number);
    for (const std::uint64_t number : all)
      give_up(number, tokens.error());
    // A broken engine stays broken: the deployment opens another.
    if (tokens.error().code == errc::engine) self_->quit();
    return;
  }
  sampled_tokens_ += tokens->size();
  for (const auto& token : *tokens) {
    const auto owner = queue_.request_of(token.sequence);
    if (!owner) continue;
    if (token.failure) {
      give_up(*owner, *token.failure);
      continue;
    }
    if (token.prompt)
      queue_.set_prompt(token.sequence, token.prompt->logprobs, token.prompt->topk,
                        token.prompt->cached_tokens, token.prompt->target_logprobs);
    auto finished = queue_.add_token(token.sequence, token.chosen, version_, token.finished);
    note_token(*owner, token);
    if (finished) finish(finished->first, std::move(finished->second));
  }
  serve_readers();
  if (ending_) commit_when_idle();
  if (can_go_on()) go_on();
}

/// Held sequences go on when their reader asks, and what waits behind them then, too.
bool sampler_state::can_go_on() const {
  const std::size_t active = engine_->num_active();
  if (active == 0) return queue_.num_waiting() > 0;
  return active > engine_->usage().held;
}

/// Sequences end on the old weights first, for a while.
void sampler_state::commit_when_idle() {
  const double waited_s = seconds_since(self_->system(), ending_->since);
  if (engine_->num_active() > 0 && waited_s < static_cast<double>(deadlines::finish_old.count()))
    return;
  auto waiting = std::move(*ending_);
  ending_.reset();
  if (engine_->num_active() > 0) {
    waiting.promise.deliver(
        to_caf({errc::timeout,
                std::to_string(engine_->num_active()) + " sequences still run on the old weights",
                "they are longer than a sync may wait",
                "sync with another policy for what is under way, or with shorter answers"}));
    return;
  }
  if (auto committed = commit_now(waiting.request)) {
    waiting.promise.deliver(*committed);
  } else {
    waiting.promise.deliver(to_caf(committed.error()));
  }
}

caf::result<stage_weights_reply> sampler_state::stage(const stage_weights_request& request) {
  staged_.reset();
  auto promise = self_->make_response_promise<stage_weights_reply>();
  ask(
      self_, stager_, deadlines::stage, request,
      [this, promise](const weights_staged& ready) mutable {
        staged_ = ready.version;
        config::failpoint("w1");
        promise.deliver(
            stage_weights_reply{staged_->version, staged_->state, staged_->bytes, ready.stage_ms});
      },
      [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  return promise;
}

caf::result<commit_weights_reply> sampler_state::commit(const commit_weights_request& request) {
  if (ending_) {
    return to_caf({errc::busy, "another commit waits for sequences to end", "two syncs meet",
                   "try again when it is done"});
  }
  if (request.in_flight == in_flight_policy::finish_old && engine_->num_active() > 0) {
    ending_ = {request, self_->make_response_promise<commit_weights_reply>(), now(self_->system())};
    return ending_->promise;
  }
  auto committed = commit_now(request);
  if (!committed) return to_caf(committed.error());
  return *committed;
}

result<commit_weights_reply> sampler_state::commit_now(const commit_weights_request& request) {
  const auto start = now(self_->system());
  const bool is_staged = staged_ && staged_->version == request.version &&
                         staged_->state == request.state &&
                         (staged_->is_whole() || staged_->base == base_);
  if (!is_staged) {
    return fail(errc::not_found, "version " + std::to_string(request.version) + " is not staged",
                "the replica restarted, or another sync replaced it", "stage it again");
  }
  const auto live = std::exchange(staged_, nullptr);
  const auto caches = request.in_flight == in_flight_policy::recompute_cache
                          ? gpu::cache_policy::recompute
                          : gpu::cache_policy::keep;
  const auto adapter = live->weights->adapter;
  auto committed = engine_->commit(*live->weights, caches);
  if (!committed) return fail(committed.error());
  deployed_adapter_bytes_ = adapter ? adapter->num_bytes() : 0;
  version_ = live->version;
  checkpoint_ = live->checkpoint;
  state_ = live->state;
  take_new_base(live->base_after);
  tell(self_, stager_, weights_live{live});
  for (const std::uint64_t request_number : queue_.limited_below(version_)) {
    give_up(request_number,
            {errc::aborted, "version " + std::to_string(version_) + " went live meanwhile",
             "the request allows older versions only",
             "allow newer versions, or sync with the policy that lets sequences finish"});
  }
  config::failpoint("w3");
  return commit_weights_reply{request.version, 1e3 * seconds_since(self_->system(), start)};
}

/// Adapters stand on the weights they were trained beside, and on no others.
void sampler_state::take_new_base(const state_digest& base) {
  if (base == base_) return;
  base_ = base;
  std::vector<std::uint64_t> adapted;
  for (const auto& [number, open] : open_)
    if (!open.request.adapter.empty() && queue_.has(number)) adapted.push_back(number);
  for (const std::uint64_t number : adapted)
    give_up(number, {errc::aborted, "other weights went live than its adapter stands on",
                     "the deployment was synced to other weights meanwhile",
                     "serve the adapter's base by a deployment of its own"});
  shelf_.clear();
  adapters_.clear();
}

replica_status sampler_state::status() const {
  replica_status out;
  out.node = node_;
  out.version = version_;
  out.checkpoint = checkpoint_;
  out.state = state_;
  out.active_sequences = engine_->num_active();
  out.waiting_sequences = queue_.num_waiting();
  out.sampled_tokens = sampled_tokens_;
  const auto usage = engine_->usage();
  out.held_sequences = usage.held;
  out.cache_pages = usage.cache_pages;
  out.prompt_pages = usage.prompt_pages;
  out.adapters = shelf_.num_adapters() + (deployed_adapter_bytes_ > 0 ? 1 : 0);
  out.adapter_bytes = shelf_.num_bytes() + deployed_adapter_bytes_;
  return out;
}

sampler_self::behavior_type sampler_state::make_behavior() {
  return {
      [this](const sample_request& r) { return sample(r); },
      [this](const stream_sample_request& r) { return open_stream(r); },
      [this](const read_sample_request& r) { return read(r); },
      [this](const cancel_sample_request& r) { return cancel(r); },
      [this](const stage_weights_request& r) { return stage(r); },
      [this](const commit_weights_request& r) { return commit(r); },
      [this](const replica_status_request&) -> caf::result<replica_status> { return status(); },
      [this](tick) { step(); },
  };
}

sampler_actor spawn_sampler(caf::actor_system& system, const node_context& context,
                            opened_engine opened, weight_stager_actor stager) {
  using impl = caf::stateful_actor<sampler_state, sampler_self::impl>;
  if (context.threads == worker_threads::own_thread) {
    return system.spawn<impl, caf::detached>(context.node, std::move(opened), std::move(stager));
  }
  return system.spawn<impl>(context.node, std::move(opened), std::move(stager));
}

}  // namespace troupe::actors
