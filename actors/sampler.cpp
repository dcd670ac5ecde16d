#include "actors/sampler.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/runtime/clock.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"

namespace troupe::actors {

sampler_state::sampler_state(sampler_self::pointer self, node_id node, opened_engine opened,
                             weight_stager_actor stager)
    : self_(self),
      node_(std::move(node)),
      engine_(std::move(opened.engine)),
      stager_(std::move(stager)),
      state_(opened.state) {}

sampler_state::~sampler_state() {
  caf::anon_send_exit(stager_, caf::exit_reason::user_shutdown);
}

caf::result<sample_reply> sampler_state::sample(const sample_request& request) {
  if (request.min_version > version_) {
    return to_caf({errc::busy,
                   "version " + std::to_string(request.min_version) + " is not live yet, " +
                       std::to_string(version_) + " is",
                   "a sync is under way", "ask again"});
  }
  if (request.max_version < version_) {
    return to_caf({errc::not_found,
                   "version " + std::to_string(request.max_version) + " is not served any more, " +
                       std::to_string(version_) + " is",
                   "newer weights went live", "ask for the live version"});
  }
  auto number = queue_.add(request);
  if (!number) return to_caf(number.error());
  auto promise = self_->make_response_promise<sample_reply>();
  open_.emplace(*number, promise);
  go_on();
  return promise;
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
    auto admitted = engine_->admit({next->sequence, request.prompt, request.params,
                                    next->sample_index, scores && request.prompt_logprobs,
                                    scores ? request.topk_prompt_logprobs : 0});
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
    while (!open_.empty())
      give_up(open_.begin()->first, tokens.error());
    // A broken engine stays broken: the deployment opens another.
    if (tokens.error().code == errc::engine) self_->quit();
    return;
  }
  sampled_tokens_ += tokens->size();
  for (const auto& token : *tokens) {
    if (token.prompt)
      queue_.set_prompt(token.sequence, token.prompt->logprobs, token.prompt->topk,
                        token.prompt->cached_tokens);
    auto finished = queue_.add_token(token.sequence, token.chosen, version_, token.finished);
    if (finished) finish(finished->first, std::move(finished->second));
  }
  if (ending_) commit_when_idle();
  if (engine_->num_active() > 0 || queue_.num_waiting() > 0) go_on();
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

void sampler_state::finish(std::uint64_t request, sample_reply reply) {
  auto node = open_.extract(request);
  if (!node.empty()) node.mapped().deliver(std::move(reply));
}

void sampler_state::give_up(std::uint64_t request, const error& reason) {
  for (const std::uint64_t sequence : queue_.drop(request))
    engine_->cancel(sequence);
  auto node = open_.extract(request);
  if (!node.empty()) node.mapped().deliver(to_caf(reason));
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
                         (!staged_->is_delta() || staged_->base == state_);
  if (!is_staged) {
    return fail(errc::not_found, "version " + std::to_string(request.version) + " is not staged",
                "the replica restarted, or another sync replaced it", "stage it again");
  }
  const auto live = std::exchange(staged_, nullptr);
  const auto caches = request.in_flight == in_flight_policy::recompute_cache
                          ? gpu::cache_policy::recompute
                          : gpu::cache_policy::keep;
  auto committed = engine_->commit(*live->weights, caches);
  if (!committed) return fail(committed.error());
  version_ = live->version;
  checkpoint_ = live->checkpoint;
  state_ = live->state;
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

replica_status sampler_state::status() const {
  return {
      node_,          version_, checkpoint_, state_, engine_->num_active(), queue_.num_waiting(),
      sampled_tokens_};
}

sampler_self::behavior_type sampler_state::make_behavior() {
  return {
      [this](const sample_request& r) { return sample(r); },
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
