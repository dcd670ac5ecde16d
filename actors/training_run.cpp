#include "actors/training_run.hpp"

#include <algorithm>
#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/trainer_group.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "messages/text_prefix.hpp"
#include "storage/sha256.hpp"

namespace troupe::actors {
namespace {

result<void> check_batch(const std::vector<datum>& batch, const model_config& model) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].tokens.size() > model.max_positions) {
      return fail(errc::invalid_argument,
                  "datum " + std::to_string(i) + " has " + std::to_string(batch[i].tokens.size()) +
                      " tokens, the model takes " + std::to_string(model.max_positions),
                  "", "cut or split it");
    }
    for (const auto* tokens : {&batch[i].tokens, &batch[i].target_tokens}) {
      for (const token_id token : *tokens) {
        if (token >= 0 && static_cast<std::uint32_t>(token) < model.vocab_size) continue;
        return fail(errc::invalid_argument,
                    "datum " + std::to_string(i) + " has token " + std::to_string(token) +
                        ", outside of the vocabulary of " + std::to_string(model.vocab_size),
                    "the data was made with another tokenizer", "use the model's own token ids");
      }
    }
  }
  return {};
}

}  // namespace

training_run_state::training_run_state(training_run_self::pointer self, training_run_config config)
    : self_(self),
      config_(std::move(config)),
      record_(config_.record),
      sequencer_(record_.client_epoch, 1),
      model_(config_.model),
      pace_(config_.snapshot_every_steps, steady_seconds(now(self_->system()))) {
  group_ = spawn_trainer_group(self_->system(), training_run_actor{self_}, config_.manager);
  self_->attach_functor([group = group_](const caf::error&) {
    caf::anon_send_exit(group, caf::exit_reason::user_shutdown);
  });
  lost_at_ = now(self_->system());
  ask(
      self_, config_.store, deadlines::store, run_events_request{record_.run, 0},
      [this](const run_events_reply& kept) {
        events_ = kept.events;
        load_journal();
      },
      [this](const error& e) { stop(e); });
}

result<void> training_run_state::check(const op_body& body) const {
  if (const auto* op = std::get_if<forward_op>(&body)) return check_batch(op->batch, model_);
  if (const auto* op = std::get_if<forward_backward_op>(&body)) {
    return check_batch(op->batch, model_);
  }
  return {};
}

caf::result<op_reply> training_run_state::offer(const op_request& request) {
  auto promise = self_->make_response_promise<op_reply>();
  if (!is_booting_) {
    take(request, promise);
  } else if (early_.size() < limits::ops_buffered_max) {
    early_.emplace_back(request, promise);
  } else {
    promise.deliver(to_caf({errc::busy, "the run is reading its journal", "", "send it again"}));
  }
  return promise;
}

void training_run_state::take(const op_request& request, op_promise promise) {
  if (phase_ == run_phase::failed) {
    return promise.deliver(
        to_caf({errc::aborted, "run " + record_.run.value + " has failed: " + detail_, "",
                "see `troupe run events`; start a new run from its last checkpoint"}));
  }
  auto canonical = request;
  canonical.client_epoch = 0;
  const auto encoded = wire::encode(canonical);
  if (!encoded) return promise.deliver(to_caf(encoded.error()));
  logic::sequenced_op op{request, storage::sha256_hex(encoded->bytes()), encoded->bytes().size()};
  const bool is_known = request.seq_id < sequencer_.next_seq_id();
  if (!is_known) {
    if (waits_for_acknowledgement()) return promise.deliver(to_caf(rolled_back_error()));
    if (auto ok = check(request.body); !ok) return promise.deliver(to_caf(ok.error()));
  }
  const auto arrived = sequencer_.offer(std::move(op));
  if (!arrived) return promise.deliver(to_caf(arrived.error()));
  if (*arrived == logic::arrival::finished) {
    const auto& outcome = *sequencer_.outcome(request.seq_id);
    if (const auto* reply = std::get_if<op_reply>(&outcome)) return promise.deliver(*reply);
    return promise.deliver(to_caf(std::get<error>(outcome)));
  }
  waiting_[request.seq_id].push_back(promise);
  idle_.reset();
  if (*arrived == logic::arrival::pending) wake();
  for (auto& released : sequencer_.take_released())
    journal(std::move(released));
}

void training_run_state::journal(logic::sequenced_op op) {
  auto shared = std::make_shared<op_request>(std::move(op.op));
  ask(
      self_, config_.store, deadlines::store,
      append_op_request{*shared, blob_id{std::move(op.body_digest)}},
      [this, shared](const done&) {
        config::failpoint("t1", shared->seq_id);
        ready_.push_back(std::move(*shared));
        if (waits_for_acknowledgement()) return refuse_pending();
        wake();
        pump();
      },
      [this](const error& e) { stop(e); });
}

void training_run_state::when_booted(std::function<void()> then) {
  const bool is_known = !is_booting_ || phase_ == run_phase::failed;
  if (is_known) return then();
  after_boot_.push_back(std::move(then));
}

void training_run_state::run_after_boot() {
  for (const auto& then : std::exchange(after_boot_, {}))
    then();
}

caf::result<run_info> training_run_state::attach() {
  auto promise = self_->make_response_promise<run_info>();
  when_booted([this, promise] {
    idle_.reset();
    record_.client_epoch = sequencer_.raise_epoch();
    ask(
        self_, config_.store, deadlines::store, put_run_request{record_},
        [this, promise](const done&) mutable { promise.deliver(info()); },
        [promise](const error& e) mutable { promise.deliver(to_caf(e)); });
  });
  return promise;
}

caf::result<run_info> training_run_state::tell_status() {
  auto promise = self_->make_response_promise<run_info>();
  when_booted([this, promise]() mutable { promise.deliver(info()); });
  return promise;
}

run_info training_run_state::info() const {
  run_info out;
  out.run = record_.run;
  out.phase = phase_;
  out.model = model_;
  out.model_directory = record_.request.model.directory;
  out.world_size = record_.request.world_size;
  out.incarnation = record_.incarnation;
  out.client_epoch = sequencer_.client_epoch();
  out.next_seq_id = sequencer_.next_seq_id();
  out.committed_seq_id = committed_seq_id_;
  out.step = committed_step_;
  out.weights = committed_weights_;
  out.last_checkpoint = last_checkpoint_;
  out.cursor = cursor_;
  out.detail = detail_;
  return out;
}

void training_run_state::set_phase(run_phase phase, std::string detail) {
  phase_ = phase;
  detail_ = std::move(detail);
  tell(self_, config_.manager, run_changed{info()});
}

void training_run_state::report(run_event event) {
  event.number = events_.empty() ? 1 : events_.back().number + 1;
  event.unix_time_ms = unix_time_ms();
  event.seq_id = committed_seq_id_;
  event.detail = text_prefix(event.detail, limits::run_event_text_bytes_max);
  // A store that refuses it refuses the next op as well, and that is noticed.
  ask(
      self_, config_.store, deadlines::store, keep_event_request{record_.run, event},
      [](const done&) {}, [](const error&) {});
  if (events_.size() == limits::run_events_max) events_.erase(events_.begin());
  events_.push_back(std::move(event));
}

void training_run_state::report(run_event_kind kind, std::string detail) {
  run_event event;
  event.kind = kind;
  event.detail = std::move(detail);
  report(std::move(event));
}

training_run_self::behavior_type training_run_state::make_behavior() {
  return {
      [this](const op_request& r) { return offer(r); },
      [this](const attach_run_request&) { return attach(); },
      [this](const run_status_request&) { return tell_status(); },
      [this](const park_run_request&) { return park(); },
      [this](const acknowledge_rollback_request&) { return acknowledge(); },
      [this](const run_events_request& r) -> caf::result<run_events_reply> {
        run_events_reply reply;
        std::copy_if(events_.begin(), events_.end(), std::back_inserter(reply.events),
                     [&r](const run_event& e) { return e.number > r.after_number; });
        return reply;
      },
      [this](const group_lost& lost) {
        if (lost.incarnation == record_.incarnation) recover(lost.reason);
      },
      [this](const node_silent& node) { tell(self_, group_, node); },
      [this](const move_away& wanted) { leave_nodes(wanted.reason); },
      [this](const park_idle& wanted) { park_unused(wanted); },
      [this](tick) { read_replay(covered_seq_id()); },
  };
}

training_run_actor spawn_training_run(caf::actor_system& system, training_run_config config) {
  using impl = caf::stateful_actor<training_run_state, training_run_self::impl>;
  return system.spawn<impl>(std::move(config));
}

}  // namespace troupe::actors
