#include <algorithm>
#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/training_run.hpp"
#include "config/deadlines.hpp"

namespace troupe::actors {
namespace {

/// An op that broke the group this often will break it again: it is given up, the run lives on.
constexpr std::uint32_t attempts_max = 3;

/// Pause between two attempts to form a group, so that a dying node's link can be noticed.
constexpr std::chrono::milliseconds form_retry{100};

}  // namespace

void training_run_state::take_snapshot() {
  busy_ = true;
  const auto world = record_.request.world_size;
  ask(
      self_, group_, deadlines::shard_work,
      group_work{record_.incarnation, committed_seq_id_,
                 std::vector<shard_body>(world, shard_save_state{})},
      [this, world, incarnation = record_.incarnation](const group_reply& reply) {
        if (!is_current(incarnation)) return;
        auto merged = logic::merge(reply.ranks, logic::batch_plan(world), committed_seq_id_);
        if (!merged) return recover(merged.error());
        auto image = manifest(checkpoint_kind::snapshot, {}, committed_seq_id_, *merged);
        if (snapshot_) image.parent = snapshot_->id;
        ask(
            self_, config_.store, deadlines::store, commit_checkpoint_request{std::move(image)},
            [this, incarnation](const checkpoint_record& record) {
              if (!is_current(incarnation)) return;
              // The one before stays complete with its ops, should this one turn out damaged.
              if (snapshot_) trim(snapshot_->manifest.seq_id);
              snapshot_ = record;
              record_.snapshot = record.id;
              ask(
                  self_, config_.store, deadlines::store, put_run_request{record_},
                  [this, incarnation](const done&) {
                    if (!is_current(incarnation)) return;
                    report({0, 0, run_event_kind::snapshot, 0, 0, 0, true,
                            "step " + std::to_string(step_)});
                    busy_ = false;
                    if (!parking_.empty()) give_nodes_back("");
                    if (!ready_.empty()) wake();
                    pump();
                  },
                  [this](const error& e) { stop(e); });
            },
            [this](const error& e) { stop(e); });
      },
      [this, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) recover(e);
      });
}

void training_run_state::load_journal() {
  if (record_.snapshot.empty() && record_.published.empty()) {
    return read_replay(0);
  }
  const auto wanted = record_.snapshot.empty() ? record_.published : record_.snapshot;
  ask(
      self_, config_.store, deadlines::store, get_checkpoint_request{wanted},
      [this](const checkpoint_record& record) {
        if (!record_.snapshot.empty()) snapshot_ = record;
        if (record_.published.empty()) return read_replay(0);
        ask(
            self_, config_.store, deadlines::store, get_checkpoint_request{record_.published},
            [this](const checkpoint_record& published) {
              published_ = published;
              read_replay(0);
            },
            [this](const error& e) { stop(e); });
      },
      [this](const error& e) { stop(e); });
}

void training_run_state::recover(const error& reason) {
  if (phase_ != run_phase::ready) return;
  lost_at_ = now(self_->system());
  report({0, 0, run_event_kind::shard_lost, 0, 0, 0, true, to_string(reason)});
  set_phase(run_phase::recovering, reason.what);
  busy_ = false;
  for (auto& promise : std::exchange(parking_, {}))
    promise.deliver(to_caf(reason));
  if (!ready_.empty() && ++attempts_[ready_.front().seq_id] >= attempts_max) {
    const op_request poison = ready_.front();
    ready_.pop_front();
    finish(poison, error{errc::aborted,
                         "op " + std::to_string(poison.seq_id) + " broke its shards " +
                             std::to_string(attempts_max) + " times",
                         reason.what, "change the op, or give the nodes more memory"});
  }
  read_replay(covered_seq_id());
}

std::uint64_t training_run_state::covered_seq_id() const {
  return snapshot_ ? snapshot_->manifest.seq_id : 0;
}

void training_run_state::read_replay(std::uint64_t after_seq_id) {
  replay_.clear();
  auto page = std::make_shared<std::function<void(std::uint64_t)>>();
  *page = [this, weak = std::weak_ptr(page)](std::uint64_t after) {
    auto next = weak.lock();
    ask(
        self_, config_.store, deadlines::store, read_log_request{record_.run, after, 256},
        [this, next](const read_log_reply& reply) {
          for (const logged_op& op : reply.ops)
            replay_.push_back(op);
          if (!reply.complete && !reply.ops.empty()) return (*next)(reply.ops.back().op.seq_id);
          if (std::exchange(is_booting_, false)) return booted();
          form();
        },
        [this](const error& e) { stop(e); });
  };
  (*page)(after_seq_id);
}

void training_run_state::restore_known_ops() {
  for (const logged_op& op : replay_) {
    sequencer_.restore(op.op.seq_id, op.body_digest.value);
    if (!op.finished) {
      ready_.push_back(op.op);
      continue;
    }
    sequencer_.finish(op.op.seq_id, op.outcome);
    committed_seq_id_ = op.op.seq_id;
    committed_step_ = op.step;
    committed_weights_ = op.weights;
    if (!op.op.cursor.empty()) cursor_ = op.op.cursor;
    const auto* reply = std::get_if<op_reply>(&op.outcome);
    if (reply != nullptr && std::holds_alternative<save_state_op>(op.op.body)) {
      last_checkpoint_ = std::get<checkpoint_result>(reply->output).checkpoint;
    }
  }
}

/// A run that was at rest when the control node ended stays at rest until somebody uses it.
void training_run_state::booted() {
  restore_known_ops();
  const bool is_at_rest = record_.incarnation > 0 && ready_.empty();
  if (is_at_rest) {
    replay_.clear();
    set_phase(run_phase::parked, "");
  } else {
    form();
  }
  for (auto& [request, promise] : std::exchange(early_, {}))
    take(request, promise);
}

void training_run_state::trim(std::uint64_t through_seq_id) {
  ask(
      self_, config_.store, deadlines::store, trim_log_request{record_.run, through_seq_id},
      [](const done&) {}, [this](const error& e) { stop(e); });
}

void training_run_state::form() {
  ++record_.incarnation;
  const auto form_now = [this](std::vector<checkpoint_record> chain) {
    form_group request{record_.incarnation,        record_.run,          record_.request.model,
                       record_.request.world_size, record_.request.seed, {},
                       record_.published,          std::move(chain),     record_.request.lora};
    if (snapshot_) request.resume.push_back(*snapshot_);
    ask(
        self_, group_, deadlines::capacity + 2 * deadlines::shard_open, std::move(request),
        [this](const group_formed& group) { formed(group); },
        [this](const error& e) { forming_failed(e); });
  };
  ask(
      self_, config_.store, deadlines::store, put_run_request{record_},
      [this, form_now](const done&) {
        if (!published_) return form_now({});
        ask(
            self_, config_.store, deadlines::store, checkpoint_chain_request{published_->id},
            [form_now](const checkpoint_list& list) { form_now(list.records); },
            [this](const error& e) { stop(e); });
      },
      [this](const error& e) { stop(e); });
}

/// The newest snapshot cannot be read: the one before it and the ops since are still there.
void training_run_state::fall_back(const error& reason) {
  report({0, 0, run_event_kind::recovering, 0, 0, 0, true,
          "snapshot of step " + std::to_string(snapshot_->manifest.step) +
              " is damaged, falling back: " + to_string(reason)});
  ask(
      self_, config_.store, deadlines::store, get_checkpoint_request{snapshot_->manifest.parent},
      [this](const checkpoint_record& older) {
        snapshot_ = older;
        record_.snapshot = older.id;
        read_replay(covered_seq_id());
      },
      [this](const error& e) { stop(e); });
}

void training_run_state::forming_failed(const error& reason) {
  const bool is_damaged = reason.code == errc::corrupt || reason.code == errc::not_found;
  if (is_damaged && snapshot_ && !snapshot_->manifest.parent.empty()) return fall_back(reason);
  if (category_of(reason.code) == error_category::user) return stop(reason);
  if (now(self_->system()) - lost_at_ > deadlines::capacity) {
    for (auto& [seq_id, promises] : waiting_) {
      for (auto& promise : promises)
        promise.deliver(to_caf(reason));
    }
    waiting_.clear();
    return give_nodes_back(reason.what);
  }
  set_phase(phase_, "forming the shards failed, trying again: " + reason.what);
  self_->delayed_send(training_run_self{self_}, form_retry, tick{});
}

void training_run_state::formed(const group_formed& group) {
  if (group.incarnation != record_.incarnation) return;
  model_ = group.model;
  weights_ = group.weights;
  step_ = snapshot_ ? snapshot_->manifest.step : 0;
  forward_plans_.clear();
  has_gradients_ = false;
  num_replayed_ = 0;
  bit_exact_ = true;
  replay_next();
}

void training_run_state::replay_next() {
  const std::uint64_t covered = covered_seq_id();
  while (!replay_.empty()) {
    const logged_op& op = replay_.front();
    const bool applies = op.finished && op.op.seq_id > covered &&
                         std::holds_alternative<op_reply>(op.outcome) &&
                         logic::changes_state(op.op.body);
    if (applies) break;
    replay_.pop_front();
  }
  if (replay_.empty()) return resumed();
  const auto op = std::make_shared<logged_op>(std::move(replay_.front()));
  replay_.pop_front();
  if (const auto* load = std::get_if<load_state_op>(&op->op.body)) {
    ask(
        self_, config_.store, deadlines::store, get_checkpoint_request{load->checkpoint},
        [this, op, mode = load->optimizer](const checkpoint_record& record) {
          const auto world = record_.request.world_size;
          replay_work(op, {std::vector<shard_body>(world, shard_load_state{record, mode}),
                           logic::batch_plan(world)});
        },
        [this](const error& e) { stop(e); });
    return;
  }
  logic::batch_plan forward_plan;
  if (const auto* backward = std::get_if<backward_op>(&op->op.body)) {
    forward_plan = forward_plans_[backward->forward_seq_id];
  }
  auto work = logic::split(op->op.body, record_.request.world_size, step_ + 1, forward_plan);
  if (!work) return stop(work.error());
  if (std::holds_alternative<forward_op>(op->op.body)) forward_plans_[op->op.seq_id] = work->plan;
  replay_work(op, std::move(*work));
}

void training_run_state::replay_work(const std::shared_ptr<logged_op>& op, logic::split_op work) {
  ask(
      self_, group_, deadlines::shard_work,
      group_work{record_.incarnation, op->op.seq_id, std::move(work.bodies)},
      [this, op, plan = std::move(work.plan),
       incarnation = record_.incarnation](const group_reply& reply) {
        if (incarnation != record_.incarnation) return;
        auto merged = logic::merge(reply.ranks, plan, op->op.seq_id);
        if (!merged) return forming_failed(merged.error());
        replayed(*op, *merged);
      },
      [this, incarnation = record_.incarnation](const error& e) {
        if (incarnation == record_.incarnation) forming_failed(e);
      });
}

void training_run_state::replayed(const logged_op& op, const logic::merged_reply& merged) {
  const op_output output = output_of(op.op, merged);
  apply_output(op.op, output);
  ++num_replayed_;
  if (!logic::same_outcome(std::get<op_reply>(op.outcome).output, output)) bit_exact_ = false;
  replay_next();
}

void training_run_state::resumed() {
  committed_step_ = step_;
  committed_weights_ = weights_;
  const bool is_first = record_.incarnation == 1;
  report({0, 0, is_first ? run_event_kind::started : run_event_kind::resumed, 0, num_replayed_,
          seconds_since(self_->system(), lost_at_), bit_exact_,
          bit_exact_ ? "" : "replayed results differ from the journal"});
  set_phase(run_phase::ready, bit_exact_ ? "" : "the last replay was not bit-exact");
  pump();
}

caf::result<run_info> training_run_state::park() {
  if (phase_ == run_phase::parked) return info();
  if (phase_ != run_phase::ready || busy_ || !ready_.empty()) {
    return to_caf({errc::busy, "run " + record_.run.value + " is at work", "ops are not finished",
                   "wait for their answers first"});
  }
  auto promise = self_->make_response_promise<run_info>();
  parking_.push_back(promise);
  if (has_gradients_ || committed_seq_id_ == covered_seq_id()) {
    give_nodes_back("");
  } else {
    take_snapshot();
  }
  return promise;
}

void training_run_state::give_nodes_back(std::string detail) {
  tell(self_, group_, close_group{});
  report({0, 0, run_event_kind::parked, 0, 0, 0, true, detail});
  set_phase(run_phase::parked, std::move(detail));
  for (auto& promise : std::exchange(parking_, {}))
    promise.deliver(info());
}

void training_run_state::wake() {
  if (phase_ != run_phase::parked) return;
  lost_at_ = now(self_->system());
  set_phase(run_phase::starting, "waking up");
  read_replay(covered_seq_id());
}

void training_run_state::stop(const error& reason) {
  report({0, 0, run_event_kind::failed, 0, 0, 0, true, to_string(reason)});
  set_phase(run_phase::failed, to_string(reason));
  for (auto& [request, promise] : std::exchange(early_, {}))
    promise.deliver(to_caf(reason));
  for (auto& [seq_id, promises] : waiting_) {
    for (auto& promise : promises)
      promise.deliver(to_caf(reason));
  }
  waiting_.clear();
}

}  // namespace troupe::actors
