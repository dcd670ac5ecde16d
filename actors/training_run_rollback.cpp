#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/training_run.hpp"
#include "config/deadlines.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {
namespace {

/// One strange result may be a bit that flipped in memory; the same op differing again is not.
constexpr std::uint32_t mismatches_max = 2;

}  // namespace

bool training_run_state::is_void(std::uint64_t seq_id) const {
  return record_.rollback && seq_id > record_.rollback->to_seq_id &&
         seq_id <= record_.rollback->through_seq_id;
}

bool training_run_state::waits_for_acknowledgement() const {
  if (config::is_planted(config::bug::rollback_unacknowledged)) return false;
  return phase_ == run_phase::rolled_back || (record_.rollback && !record_.rollback->acknowledged);
}

error training_run_state::rolled_back_error() const {
  return {errc::rolled_back,
          "run " + record_.run.value + " was rolled back to step " +
              std::to_string(committed_step_) + " and waits",
          record_.rollback ? record_.rollback->reason : detail_,
          "see `troupe run events " + record_.run.value + "`, then `troupe run acknowledge " +
              record_.run.value + "` and start the loop from the cursor there"};
}

void training_run_state::replay_differs(std::uint64_t seq_id) {
  if (config::is_planted(config::bug::mismatch_ignored)) return replay_next();
  const std::string what = "op " + std::to_string(seq_id) +
                           ", repeated, gave another result than the one in the journal";
  if (++num_mismatches_ >= mismatches_max) return roll_back(what + ", twice");
  run_event event;
  event.kind = run_event_kind::recovering;
  event.bit_exact = false;
  event.detail = what + "; repeating once more";
  report(std::move(event));
  read_replay(covered_seq_id());
}

/// Every op so far is used up; those after the snapshot count no more.
void training_run_state::roll_back(const std::string& reason) {
  set_phase(run_phase::rolled_back, reason);
  replay_.clear();
  num_mismatches_ = 0;
  step_ = snapshot_ ? snapshot_->manifest.step : 0;
  weights_ = formed_weights_;
  changed_seq_id_ = covered_seq_id();
  record_.rollback = run_rollback{covered_seq_id(), sequencer_.next_seq_id() - 1, false, reason};
  ask(
      self_, config_.store, deadlines::store, put_run_request{record_},
      [this](const done&) {
        read_log(0, [this](const std::deque<logged_op>& ops) {
          std::string cursor;
          for (const logged_op& op : ops) {
            const bool counts = op.finished && !is_void(op.op.seq_id) &&
                                std::holds_alternative<op_reply>(op.outcome);
            if (counts && !op.op.cursor.empty()) cursor = op.op.cursor;
          }
          rolled_back(cursor);
        });
      },
      [this](const error& e) { stop(e); });
}

void training_run_state::rolled_back(const std::string& cursor) {
  tell(self_, group_, close_group{});
  committed_step_ = step_;
  committed_weights_ = weights_;
  cursor_ = cursor;
  run_event event;
  event.kind = run_event_kind::rolled_back;
  event.bit_exact = false;
  event.detail = record_.rollback->reason;
  event.to_seq_id = record_.rollback->to_seq_id;
  event.to_step = committed_step_;
  event.cursor = cursor;
  report(std::move(event));
  if (config::is_planted(config::bug::rollback_unacknowledged)) {
    return set_phase(run_phase::parked, "");
  }
  set_phase(run_phase::rolled_back, record_.rollback->reason);
  refuse_pending();
}

void training_run_state::refuse_pending() {
  for (const op_request& op : std::deque<op_request>(ready_))
    finish(op, rolled_back_error());
}

caf::result<run_info> training_run_state::acknowledge() {
  if (phase_ != run_phase::rolled_back || !record_.rollback) {
    return to_caf({errc::invalid_argument, "run " + record_.run.value + " was not rolled back",
                   "there is nothing to acknowledge, or somebody did it before", ""});
  }
  auto promise = self_->make_response_promise<run_info>();
  record_.rollback->acknowledged = true;
  ask(
      self_, config_.store, deadlines::store, put_run_request{record_},
      [this, promise](const done&) mutable {
        report(run_event_kind::acknowledged, {});
        set_phase(run_phase::parked, "");
        promise.deliver(info());
      },
      [this, promise](const error& e) mutable {
        promise.deliver(to_caf(e));
        stop(e);
      });
  return promise;
}

}  // namespace troupe::actors
