#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/training_run.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {

void training_run_state::snapshot_if_due() {
  const bool is_free = phase_ == run_phase::ready && !busy_ && !is_saving_ && !is_verifying_;
  const double at = steady_seconds(now(self_->system()));
  if (is_free && pace_.is_due(step_, at)) take_snapshot();
}

/// Ops wait only until the ranks know that they are to copy; copies and files are made beside later
/// ops, and a step waits for what it would overwrite.
void training_run_state::take_snapshot() {
  busy_ = true;
  is_saving_ = true;
  config::failpoint("s1");
  const auto begun = now(self_->system());
  const captured_at at{committed_seq_id_, step_, begun, 0};
  ask(
      self_, group_, deadlines::shard_work,
      group_work{record_.incarnation, at.seq_id,
                 std::vector<shard_body>(record_.request.world_size, shard_capture_state{})},
      [this, at, begun, incarnation = record_.incarnation](const group_reply&) {
        if (!is_current(incarnation)) return;
        busy_ = false;
        const double waited_s = seconds_since(self_->system(), begun);
        pace_.taken(at.step, steady_seconds(begun));
        write_snapshot({at.seq_id, at.step, begun, waited_s});
        pump();
      },
      [this, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) recover(e);
      });
}

void training_run_state::write_snapshot(const captured_at& at) {
  const auto world = record_.request.world_size;
  ask(
      self_, group_, deadlines::shard_work,
      group_work{record_.incarnation, at.seq_id,
                 std::vector<shard_body>(world, shard_write_captured{})},
      [this, at, world, incarnation = record_.incarnation](const group_reply& reply) {
        if (!is_current(incarnation)) return;
        auto merged = logic::merge(reply.ranks, logic::batch_plan(world), at.seq_id);
        if (!merged) return snapshot_failed(merged.error());
        captured_at done = at;
        done.waited_s += logic::metric(merged->metrics, "copy_waited_s:max");
        pace_.cost(at.waited_s + logic::metric(merged->metrics, "copying_s:max"));
        auto image = manifest(checkpoint_kind::snapshot, {}, at, *merged);
        if (config::is_planted(config::bug::snapshot_misnumbered)) ++image.seq_id;
        if (snapshot_) image.parent = snapshot_->id;
        ask(
            self_, config_.store, deadlines::store, commit_checkpoint_request{std::move(image)},
            [this, done, incarnation](const checkpoint_record& record) {
              if (is_current(incarnation)) snapshot_committed(done, record);
            },
            [this, incarnation](const error& e) {
              if (e.code != errc::corrupt) return stop(e);
              if (is_current(incarnation)) snapshot_failed(e);
            });
      },
      [this, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) snapshot_failed(e);
      });
}

void training_run_state::snapshot_committed(const captured_at& at,
                                            const checkpoint_record& record) {
  auto older = std::exchange(snapshot_, record);
  is_saving_ = false;
  is_verifying_ = true;
  if (config::is_planted(config::bug::trim_before_verified)) trim(record.manifest.seq_id);
  record_.snapshot = record.id;
  ask(
      self_, config_.store, deadlines::store, put_run_request{record_},
      [this, older, record, at](const done&) {
        run_event event;
        event.kind = run_event_kind::snapshot;
        event.seconds = seconds_since(self_->system(), at.begun);
        event.detail = "step " + std::to_string(at.step) + ", ops waited " +
                       std::to_string(1000 * at.waited_s) + " ms";
        report(std::move(event));
        verify_snapshot(record.id, older);
        after_snapshot();
      },
      [this](const error& e) { stop(e); });
}

/// The run goes on without it: the one before and the ops since are there.
void training_run_state::snapshot_failed(const error& reason) {
  is_saving_ = false;
  report(run_event_kind::snapshot, "not taken: " + to_string(reason));
  const bool is_idle = !busy_ && ready_.empty();
  if (is_parking()) return is_idle ? give_nodes_back(idle_.value_or("")) : finish_parking();
  if (moving_ && !busy_ && !has_gradients_) return hand_over();
  pump();
}

/// What the snapshot makes superfluous goes only when it was read back; the one before it stays
/// complete with its ops, should this one turn out damaged later.
void training_run_state::verify_snapshot(const checkpoint_id& written,
                                         std::optional<checkpoint_record> older) {
  const auto is_newest = [this, written] { return snapshot_ && snapshot_->id == written; };
  is_verifying_ = true;
  ask(
      self_, config_.store, deadlines::verify, verify_checkpoint_request{written},
      [this, is_newest, older](const done&) {
        const bool too_far = config::is_planted(config::bug::trim_too_far);
        if (older) trim(too_far ? covered_seq_id() : older->manifest.seq_id);
        is_verifying_ = false;
        after_snapshot();
      },
      [this, is_newest, older](const error& e) {
        is_verifying_ = false;
        return is_newest() ? snapshot_damaged(older, e) : after_snapshot();
      });
}

/// The one that an earlier control node left may have been killed with it before it was read back.
void training_run_state::verify_inherited() {
  if (!std::exchange(is_inherited_, false) || !snapshot_) return;
  is_verifying_ = true;
  const checkpoint_id newest = snapshot_->id;
  const checkpoint_id parent = snapshot_->manifest.parent;
  if (parent.empty()) return verify_snapshot(newest, std::nullopt);
  ask(
      self_, config_.store, deadlines::store, get_checkpoint_request{parent},
      [this, newest](const checkpoint_record& older) { verify_snapshot(newest, older); },
      [this, newest](const error&) { verify_snapshot(newest, std::nullopt); });
}

void training_run_state::snapshot_damaged(const std::optional<checkpoint_record>& older,
                                          const error& reason) {
  report(run_event_kind::snapshot, "damaged when read back, not used: " + to_string(reason));
  snapshot_ = older;
  record_.snapshot = older ? older->id : checkpoint_id{};
  ask(
      self_, config_.store, deadlines::store, put_run_request{record_},
      [this](const done&) { after_snapshot(); }, [this](const error& e) { stop(e); });
}

void training_run_state::after_snapshot() {
  if (phase_ == run_phase::ready && is_parking()) return finish_parking();
  pump();
}

// -- parking -------------------------------------------------------------------------------------

caf::result<run_info> training_run_state::park() {
  if (phase_ == run_phase::parked) return info();
  if (phase_ != run_phase::ready || busy_ || !ready_.empty()) {
    return to_caf({errc::busy, "run " + record_.run.value + " is at work", "ops are not finished",
                   "wait for their answers first"});
  }
  auto promise = self_->make_response_promise<run_info>();
  parking_.push_back(promise);
  finish_parking();
  return promise;
}

/// One that is at work, or on its way to some nodes, is asked again.
void training_run_state::park_unused(const park_idle& wanted) {
  const bool is_at_rest = phase_ == run_phase::ready && !busy_ && ready_.empty();
  if (!is_at_rest || is_parking() || moving_) return;
  idle_ = wanted.reason;
  finish_parking();
}

void training_run_state::finish_parking() {
  if (busy_ || !ready_.empty()) {
    idle_.reset();
    for (auto& promise : std::exchange(parking_, {}))
      promise.deliver(to_caf({errc::busy, "run " + record_.run.value + " is at work again",
                              "an op came in while it was being parked", "wait for its answer"}));
    return pump();
  }
  const bool is_covered = changed_seq_id_ <= covered_seq_id();
  if (has_gradients_ || is_covered) return give_nodes_back(idle_.value_or(""));
  if (!is_saving_ && !is_verifying_) take_snapshot();
}

void training_run_state::give_nodes_back(std::string detail) {
  tell(self_, group_, close_group{});
  is_saving_ = false;
  moving_.reset();
  idle_.reset();
  report(run_event_kind::parked, detail);
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

// -- moving off nodes that will go ---------------------------------------------------------------

void training_run_state::leave_nodes(const std::string& reason) {
  report(run_event_kind::leaving, reason);
  if (phase_ == run_phase::parked) return;
  moving_ = reason;
  pump();
}

/// Between two steps, with no op under way: gradients in no snapshot would be computed again.
void training_run_state::move() {
  if (changed_seq_id_ <= covered_seq_id()) return hand_over();
  if (!is_saving_ && !is_verifying_) take_snapshot();
}

void training_run_state::hand_over() {
  set_phase(run_phase::recovering, *moving_);
  moving_.reset();
  is_saving_ = false;
  lost_at_ = now(self_->system());
  read_replay(covered_seq_id());
}

}  // namespace troupe::actors
