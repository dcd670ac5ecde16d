#include <algorithm>
#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/training_run.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {
namespace {

/// An op that broke the group this often will break it again: it is given up, the run lives on.
constexpr std::uint32_t attempts_max = 3;

/// Pause between two attempts to form a group, so that a dying node's link can be noticed.
constexpr std::chrono::milliseconds form_retry{100};

/// What was stored cannot be had as it was.
bool is_damage(const error& e) {
  return e.code == errc::corrupt || e.code == errc::not_found;
}

}  // namespace

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
  report(run_event_kind::shard_lost, to_string(reason));
  set_phase(run_phase::recovering, reason.what);
  busy_ = false;
  is_saving_ = false;
  moving_.reset();
  idle_.reset();
  pace_.lost(steady_seconds(lost_at_));
  for (auto& promise : std::exchange(parking_, {}))
    promise.deliver(to_caf(reason));
  count_loss(reason);
  read_replay(covered_seq_id());
}

/// The count is kept with the run's record, which is written before the next set is formed.
void training_run_state::count_loss(const error& reason) {
  const std::uint64_t suspect = std::exchange(dispatched_, 0);
  if (suspect == 0 || ready_.empty() || ready_.front().seq_id != suspect) return;
  if (record_.suspect_seq_id != suspect) record_.suspect_losses = 0;
  record_.suspect_seq_id = suspect;
  const bool is_tireless = config::is_planted(config::bug::poison_never_given_up);
  if (++record_.suspect_losses < attempts_max || is_tireless) return;
  const op_request poison = ready_.front();
  ready_.pop_front();
  const std::string what = "op " + std::to_string(suspect) + " broke its shards " +
                           std::to_string(attempts_max) + " times";
  report(run_event_kind::quarantined, what + ": " + reason.what);
  finish(poison,
         error{errc::aborted, what, reason.what, "change the op, or give the nodes more memory"});
}

std::uint64_t training_run_state::covered_seq_id() const {
  return snapshot_ ? snapshot_->manifest.seq_id : 0;
}

/// Reads the log page by page.
void training_run_state::read_log(std::uint64_t after_seq_id, log_reader then) {
  auto ops = std::make_shared<std::deque<logged_op>>();
  auto page = std::make_shared<std::function<void(std::uint64_t)>>();
  *page = [this, ops, then = std::move(then), weak = std::weak_ptr(page)](std::uint64_t after) {
    auto next = weak.lock();
    ask(
        self_, config_.store, deadlines::store, read_log_request{record_.run, after, 256},
        [ops, then, next](const read_log_reply& reply) {
          ops->insert(ops->end(), reply.ops.begin(), reply.ops.end());
          if (!reply.complete && !reply.ops.empty()) return (*next)(reply.ops.back().op.seq_id);
          then(std::move(*ops));
        },
        [this](const error& e) { stop(e); });
  };
  (*page)(after_seq_id);
}

void training_run_state::read_replay(std::uint64_t after_seq_id) {
  read_log(after_seq_id, [this](std::deque<logged_op> ops) {
    replay_ = std::move(ops);
    if (std::exchange(is_booting_, false)) return booted();
    form();
  });
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
    if (is_void(op.op.seq_id)) continue;
    const bool has_changed =
        std::holds_alternative<op_reply>(op.outcome) && logic::changes_state(op.op.body);
    if (has_changed) changed_seq_id_ = op.op.seq_id;
    committed_step_ = op.step;
    committed_weights_ = op.weights;
    const auto* reply = std::get_if<op_reply>(&op.outcome);
    if (reply != nullptr && !op.op.cursor.empty()) cursor_ = op.op.cursor;
    if (reply != nullptr && std::holds_alternative<save_state_op>(op.op.body)) {
      last_checkpoint_ = std::get<checkpoint_result>(reply->output).checkpoint;
    }
  }
}

/// A run that was at rest when the control node ended stays at rest until somebody uses it.
void training_run_state::booted() {
  restore_known_ops();
  const bool is_at_rest = record_.incarnation > 0 && ready_.empty();
  if (waits_for_acknowledgement()) {
    replay_.clear();
    set_phase(run_phase::rolled_back, record_.rollback->reason);
    refuse_pending();
  } else if (is_at_rest) {
    replay_.clear();
    set_phase(run_phase::parked, "");
  } else {
    if (record_.incarnation > 0)
      report(run_event_kind::recovering, "the control node was started again");
    form();
  }
  for (auto& [request, promise] : std::exchange(early_, {}))
    take(request, promise);
  run_after_boot();
}

void training_run_state::trim(std::uint64_t through_seq_id) {
  ask(
      self_, config_.store, deadlines::store, trim_log_request{record_.run, through_seq_id},
      [](const done&) {}, [this](const error& e) { stop(e); });
}

void training_run_state::form() {
  ++record_.incarnation;
  auto durable = record_;
  if (config::is_planted(config::bug::incarnation_not_durable)) --durable.incarnation;
  if (config::is_planted(config::bug::suspect_not_durable)) durable.suspect_losses = 0;
  if (record_.incarnation > 1) config::failpoint("b3");
  const auto form_now = [this](std::vector<checkpoint_record> chain) {
    form_group request{record_.incarnation,       record_.run,
                       record_.request.model,     record_.request.world_size,
                       record_.request.seed,      {},
                       record_.published,         std::move(chain),
                       record_.request.lora,      record_.request.tenant,
                       record_.request.shard_size};
    if (snapshot_) request.resume.push_back(*snapshot_);
    ask(
        self_, group_, deadlines::capacity + 2 * deadlines::shard_open, std::move(request),
        [this](const group_formed& group) { formed(group); },
        [this](const error& e) { forming_failed(e); });
  };
  ask(
      self_, config_.store, deadlines::store, put_run_request{durable},
      [this, form_now](const done&) {
        if (!published_) return form_now({});
        ask(
            self_, config_.store, deadlines::store,
            checkpoint_chain_request{published_->id, published_form_},
            [form_now](const checkpoint_list& list) { form_now(list.records); },
            [this](const error& e) { return is_damage(e) ? forget_published(e) : stop(e); });
      },
      [this](const error& e) { stop(e); });
}

/// The newest snapshot cannot be read: the one before it and the ops since are still there, and
/// before the oldest one the model itself.
void training_run_state::fall_back(const error& reason) {
  report(run_event_kind::recovering, "snapshot of step " +
                                         std::to_string(snapshot_->manifest.step) +
                                         " is damaged, falling back: " + to_string(reason));
  const auto from_the_model = [this] {
    snapshot_.reset();
    record_.snapshot = {};
    read_replay(0);
  };
  if (snapshot_->manifest.parent.empty()) return from_the_model();
  ask(
      self_, config_.store, deadlines::store, get_checkpoint_request{snapshot_->manifest.parent},
      [this](const checkpoint_record& older) {
        snapshot_ = older;
        record_.snapshot = older.id;
        read_replay(covered_seq_id());
      },
      [this, from_the_model](const error& e) {
        return e.code == errc::not_found ? from_the_model() : stop(e);
      });
}

/// A node may fail to see what is there: only what the control node finds damaged is given up.
void training_run_state::check_snapshot(const error& reason) {
  ask(
      self_, config_.store, deadlines::verify, verify_checkpoint_request{snapshot_->id},
      [this, reason](const done&) { check_published(reason); },
      [this](const error& e) { return is_damage(e) ? fall_back(e) : retry_forming(e); });
}

/// The ranks also load what was published last, to make the next delta against it: first without
/// its folds, and when a file of it is damaged, not at all.
void training_run_state::check_published(const error& reason) {
  if (!published_) return retry_forming(reason);
  published_form_ = chain_form::complete;
  ask(
      self_, config_.store, deadlines::store,
      checkpoint_chain_request{published_->id, chain_form::complete},
      [this, reason](const checkpoint_list& chain) {
        auto left = std::make_shared<std::vector<checkpoint_record>>(chain.records);
        verify_published(left, reason);
      },
      [this](const error& e) { return is_damage(e) ? forget_published(e) : retry_forming(e); });
}

void training_run_state::verify_published(
    const std::shared_ptr<std::vector<checkpoint_record>>& left, const error& reason) {
  if (left->empty()) return retry_forming(reason);
  const checkpoint_id next = left->back().id;
  left->pop_back();
  ask(
      self_, config_.store, deadlines::verify, verify_checkpoint_request{next},
      [this, left, reason](const done&) { verify_published(left, reason); },
      [this](const error& e) { return is_damage(e) ? forget_published(e) : retry_forming(e); });
}

/// The run goes on without it: its next publish is a base.
void training_run_state::forget_published(const error& reason) {
  report(run_event_kind::recovering,
         "what was published last is damaged, a base follows: " + to_string(reason));
  published_.reset();
  published_form_ = chain_form::shortest;
  record_.published = {};
  retry_forming(reason);
}

void training_run_state::forming_failed(const error& reason) {
  if (is_damage(reason) && snapshot_) return check_snapshot(reason);
  if (is_damage(reason)) return check_published(reason);
  retry_forming(reason);
}

void training_run_state::retry_forming(const error& reason) {
  if (!is_damage(reason) && category_of(reason.code) == error_category::user) return stop(reason);
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
  formed_weights_ = group.weights;
  step_ = snapshot_ ? snapshot_->manifest.step : 0;
  forward_plans_.clear();
  has_gradients_ = false;
  num_replayed_ = 0;
  forming_s_ = seconds_since(self_->system(), lost_at_);
  replay_next();
}

void training_run_state::replay_next() {
  const std::uint64_t covered =
      covered_seq_id() + (config::is_planted(config::bug::replay_from_newer) ? 1 : 0);
  while (!replay_.empty()) {
    const logged_op& op = replay_.front();
    const bool applies = op.finished && op.op.seq_id > covered && !is_void(op.op.seq_id) &&
                         std::holds_alternative<op_reply>(op.outcome) &&
                         logic::changes_state(op.op.body);
    if (applies) break;
    replay_.pop_front();
  }
  const bool skips = config::is_planted(config::bug::replay_skips_last) && replay_.size() == 1;
  if (replay_.empty() || skips) return resumed();
  if (!logic::has_payload(replay_.front().op.body)) {
    return roll_back("the data of op " + std::to_string(replay_.front().op.seq_id) +
                     " is not kept any more, and the snapshots after it are damaged");
  }
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
  config::failpoint("b2");
  if (config::is_planted(config::bug::replay_twice) && num_replayed_ == 1) {
    replay_.push_front(op);
  }
  if (!logic::same_outcome(std::get<op_reply>(op.outcome).output, output)) {
    return replay_differs(op.op.seq_id);
  }
  replay_next();
}

void training_run_state::resumed() {
  committed_step_ = step_;
  committed_weights_ = weights_;
  num_mismatches_ = 0;
  const bool is_first = record_.incarnation == 1;
  run_event event;
  event.kind = is_first ? run_event_kind::started : run_event_kind::resumed;
  event.ops_replayed = num_replayed_;
  event.seconds = seconds_since(self_->system(), lost_at_);
  event.detail = "shards formed after " + std::to_string(forming_s_) + " s";
  report(std::move(event));
  set_phase(run_phase::ready, "");
  verify_inherited();
  pump();
}

void training_run_state::stop(const error& reason) {
  report(run_event_kind::failed, to_string(reason));
  set_phase(run_phase::failed, to_string(reason));
  for (auto& [request, promise] : std::exchange(early_, {}))
    promise.deliver(to_caf(reason));
  run_after_boot();
  for (auto& [seq_id, promises] : waiting_) {
    for (auto& promise : promises)
      promise.deliver(to_caf(reason));
  }
  waiting_.clear();
}

}  // namespace troupe::actors
