#include "actors/weight_syncer.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/runtime/clock.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {

namespace {

/// Ways to bring a replica to a version, each tried when the one before could not be verified.
enum class sync_step : std::uint8_t {
  delta,     ///< the last delta onto the live weights
  shortest,  ///< the base and folded deltas
  complete,  ///< the base and every delta as it was published
};

bool is_doubtful(const error& e) {
  return e.code == errc::wrong_base || e.code == errc::corrupt || e.code == errc::not_found;
}

/// Why a replica of `model` cannot serve the checkpoint, however whole its files are. Its chain is
/// not doubted for that.
std::optional<error> misfit(const checkpoint_record& record, const model_config& model) {
  const checkpoint_kind kind = record.manifest.kind;
  if (kind == checkpoint_kind::training || kind == checkpoint_kind::snapshot) {
    return error{errc::invalid_argument, "checkpoint " + record.id.value + " holds training state",
                 "it was made to go on training from",
                 "sync one that save_weights_for_sampler made"};
  }
  if (record.manifest.model != model) {
    return error{errc::invalid_argument,
                 "checkpoint " + record.id.value + " is of another model than the deployment's",
                 "it was trained from " + record.manifest.model_directory,
                 "sync a deployment of that model"};
  }
  return std::nullopt;
}

}  // namespace

struct weight_syncer_state::running {
  sync_request request;
  caf::typed_response_promise<sync_reply> promise;
  std::vector<checkpoint_record> chain;
  time_point start;
  sync_step step = sync_step::delta;
  bool ended = false;
  sync_reply reply;
};

weight_syncer_state::weight_syncer_state(weight_syncer_actor::pointer self,
                                         checkpoint_store_actor store, sync_target target)
    : self_(self), store_(std::move(store)), target_(std::move(target)) {
  self_->set_down_handler([this](const caf::down_msg&) {
    const error gone{errc::peer_lost, "the replica went away during a sync",
                     "its process or machine ended", "it catches up when it is replaced"};
    if (auto run = std::exchange(running_, nullptr)) end(run, gone);
  });
  self_->monitor(target_.replica);
}

caf::result<sync_reply> weight_syncer_state::sync(const sync_request& request) {
  auto run = std::make_shared<running>();
  run->request = request;
  run->promise = self_->make_response_promise<sync_reply>();
  run->start = now(self_->system());
  running_ = run;
  ask(
      self_, target_.replica, deadlines::stage, replica_status_request{run->request.deployment},
      [this, run](const replica_status& live) { find_chain(run, live.state); },
      [this, run](const error& e) { end(run, e); });
  return run->promise;
}

/// A delta that was folded still fits a replica that serves the version before it, so the folds are
/// asked for only when it does not.
void weight_syncer_state::find_chain(const running_ptr& run, const state_digest& live) {
  const auto form = run->step == sync_step::shortest ? chain_form::shortest : chain_form::complete;
  ask(
      self_, store_, deadlines::store, checkpoint_chain_request{run->request.checkpoint, form},
      [this, run, live](const checkpoint_list& list) {
        run->chain = list.records;
        if (const auto wrong = misfit(run->chain.back(), target_.model)) return end(run, wrong);
        const auto& last = run->chain.back().manifest;
        const bool fits = last.kind == checkpoint_kind::sampler_delta && live == last.parent_state;
        if (run->step == sync_step::delta && !fits) {
          run->step = sync_step::shortest;
          return find_chain(run, live);
        }
        stage(run, live);
      },
      [this, run](const error& e) { end(run, e); });
}

void weight_syncer_state::stage(const running_ptr& run, const state_digest& live) {
  stage_weights_request request{target_.version, run->chain};
  run->reply.was_delta = run->step == sync_step::delta;
  if (run->reply.was_delta) request.chain = {run->chain.back()};
  config::failpoint("w1");
  ask(
      self_, target_.replica, deadlines::stage, std::move(request),
      [this, run](const stage_weights_reply& staged) { commit(run, staged); },
      [this, run, live](const error& e) {
        if (!is_doubtful(e)) return end(run, e);
        if (run->step == sync_step::complete) return doubt(run, e);
        run->step = run->step == sync_step::delta ? sync_step::shortest : sync_step::complete;
        find_chain(run, live);
      });
}

/// The next publish of its run will be a base. The sync has failed, whatever comes of it.
void weight_syncer_state::doubt(const running_ptr& run, const error& reason) {
  ask(
      self_, store_, deadlines::store,
      doubt_chain_request{run->request.checkpoint, to_string(reason)},
      [this, run, reason](const done&) { end(run, reason); },
      [this, run, reason](const error&) { end(run, reason); });
}

void weight_syncer_state::commit(const running_ptr& run, const stage_weights_reply& staged) {
  run->reply.stage_ms = staged.stage_ms;
  run->reply.bytes = staged.bytes;
  config::failpoint("w2");
  if (config::is_planted(config::bug::sync_without_flip)) return end(run, std::nullopt);
  ask(
      self_, target_.replica, deadlines::commit + deadlines::finish_old,
      commit_weights_request{staged.version, staged.state, run->request.in_flight},
      [this, run](const commit_weights_reply& committed) {
        run->reply.pause_ms = committed.pause_ms;
        config::failpoint("w3");
        probe(run);
      },
      [this, run](const error& e) { end(run, e); });
}

/// Asks the new weights for what the trainer's gave on the same tokens. The sync stands whatever
/// comes of it.
void weight_syncer_state::probe(const running_ptr& run) {
  const checkpoint_manifest& live = run->chain.back().manifest;
  if (live.probe_logprobs.empty()) return end(run, std::nullopt);
  sample_request wanted;
  wanted.deployment = run->request.deployment;
  wanted.prompt = probe_prompt(live.model);
  wanted.params.max_tokens = 1;
  wanted.prompt_logprobs = true;
  ask(
      self_, target_.replica, deadlines::commit, std::move(wanted),
      [this, run](const sample_reply& reply) {
        const auto& trainer = run->chain.back().manifest.probe_logprobs;
        const std::size_t size = std::min(trainer.size(), reply.prompt_logprobs.size());
        double sum = 0;
        for (std::size_t i = 0; i < size; ++i) {
          const double gap = std::abs(static_cast<double>(trainer[i] - reply.prompt_logprobs[i]));
          run->reply.logprob_gap_max = std::max(run->reply.logprob_gap_max, gap);
          sum += gap;
        }
        if (size > 0) run->reply.logprob_gap_mean = sum / static_cast<double>(size);
        end(run, std::nullopt);
      },
      [this, run](const error&) { end(run, std::nullopt); });
}

void weight_syncer_state::end(const running_ptr& run, const std::optional<error>& failure) {
  if (std::exchange(run->ended, true)) return;
  ledger_entry line{run->request.deployment,
                    target_.node,
                    target_.version,
                    run->request.checkpoint,
                    failure ? to_string(*failure) : std::string("committed"),
                    unix_time_ms(),
                    target_.place,
                    run->reply.bytes,
                    run->reply.stage_ms,
                    run->reply.pause_ms};
  const auto answer = [this, run, failure] {
    if (failure) {
      run->promise.deliver(to_caf(*failure));
    } else {
      run->reply.version = target_.version;
      run->reply.checkpoint = run->request.checkpoint;
      run->reply.total_ms = 1e3 * seconds_since(self_->system(), run->start);
      run->promise.deliver(run->reply);
    }
    self_->quit();
  };
  ask(
      self_, store_, deadlines::store, std::move(line), [answer](const done&) { answer(); },
      [answer](const error&) { answer(); });
}

weight_syncer_actor::behavior_type weight_syncer_state::make_behavior() {
  return {[this](const sync_request& r) { return sync(r); }};
}

weight_syncer_actor spawn_weight_syncer(caf::actor_system& system, checkpoint_store_actor store,
                                        sync_target target) {
  using impl = caf::stateful_actor<weight_syncer_state, weight_syncer_actor::impl>;
  return system.spawn<impl>(std::move(store), std::move(target));
}

}  // namespace troupe::actors
