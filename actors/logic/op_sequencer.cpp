#include "actors/logic/op_sequencer.hpp"

#include <utility>

#include "config/limits.hpp"
#include "config/planted_bug.hpp"

namespace troupe::logic {

op_sequencer::op_sequencer(std::uint64_t client_epoch, std::uint64_t next_seq_id)
    : client_epoch_(client_epoch), next_seq_id_(next_seq_id) {}

result<arrival> op_sequencer::offer(sequenced_op op) {
  using config::bug;
  if (op.op.client_epoch < client_epoch_ && !config::is_planted(bug::epoch_ignored)) {
    return fail(errc::fenced,
                "client_epoch " + std::to_string(op.op.client_epoch) + " was replaced by " +
                    std::to_string(client_epoch_),
                "another client attached to the run", "attach again to take it over");
  }
  if (op.op.client_epoch > client_epoch_ || op.op.seq_id == 0) {
    return fail(errc::invalid_argument,
                "seq_id " + std::to_string(op.op.seq_id) + " with client_epoch " +
                    std::to_string(op.op.client_epoch) + " was never handed out",
                "", "use the numbers that attach answered; seq_id starts at 1");
  }
  if (op.op.seq_id < next_seq_id_ && config::is_planted(bug::no_dedupe)) {
    released_.push_back(std::move(op));
    return arrival::released;
  }
  if (op.op.seq_id < next_seq_id_) return repeat(op);
  if (op.op.seq_id == next_seq_id_ || config::is_planted(bug::gap_ignored)) {
    accept(std::move(op));
    while (!early_.empty() && early_.begin()->first == next_seq_id_) {
      auto node = early_.extract(early_.begin());
      early_bytes_ -= node.mapped().bytes;
      accept(std::move(node.mapped()));
    }
    return arrival::released;
  }
  if (const auto waiting = early_.find(op.op.seq_id); waiting != early_.end()) {
    if (waiting->second.body_digest != op.body_digest) {
      return fail(errc::seq_reused,
                  "seq_id " + std::to_string(op.op.seq_id) + " waits already with another body");
    }
    return arrival::buffered;
  }
  if (op.op.seq_id - next_seq_id_ > limits::ops_buffered_max ||
      early_bytes_ + op.bytes > limits::ops_buffered_bytes_max) {
    return fail(errc::busy,
                "seq_id " + std::to_string(op.op.seq_id) + " is too far ahead of " +
                    std::to_string(next_seq_id_),
                "the run is slower than its client",
                "send it again after earlier ops are answered");
  }
  early_bytes_ += op.bytes;
  const std::uint64_t seq_id = op.op.seq_id;
  early_.emplace(seq_id, std::move(op));
  return arrival::buffered;
}

result<arrival> op_sequencer::repeat(const sequenced_op& op) const {
  const auto known = known_.find(op.op.seq_id);
  if (known == known_.end()) {
    return fail(errc::invalid_argument,
                "seq_id " + std::to_string(op.op.seq_id) + " was answered long ago",
                "its result is no longer kept", "use seq_id " + std::to_string(next_seq_id_));
  }
  const bool is_other_body = known->second.body_digest != op.body_digest;
  if (is_other_body && !config::is_planted(config::bug::dedupe_ignores_body)) {
    return fail(errc::seq_reused,
                "seq_id " + std::to_string(op.op.seq_id) + " was used for another request",
                "two clients share a run, or a client lost count", "attach to get the next number");
  }
  return known->second.outcome ? arrival::finished : arrival::pending;
}

void op_sequencer::accept(sequenced_op op) {
  known_[op.op.seq_id] = known_op{op.body_digest, std::nullopt};
  next_seq_id_ = op.op.seq_id + 1;
  released_.push_back(std::move(op));
}

std::vector<sequenced_op> op_sequencer::take_released() {
  return std::exchange(released_, {});
}

void op_sequencer::restore(std::uint64_t seq_id, std::string body_digest) {
  known_[seq_id] = known_op{std::move(body_digest), std::nullopt};
  if (seq_id >= next_seq_id_) next_seq_id_ = seq_id + 1;
}

void op_sequencer::finish(std::uint64_t seq_id, std::variant<op_reply, error> outcome) {
  const auto known = known_.find(seq_id);
  if (known == known_.end() || known->second.outcome) return;
  known->second.outcome = std::move(outcome);
  forget_old();
}

void op_sequencer::forget_old() {
  while (known_.size() > limits::op_outcomes_kept_max && known_.begin()->second.outcome) {
    known_.erase(known_.begin());
  }
}

const std::variant<op_reply, error>* op_sequencer::outcome(std::uint64_t seq_id) const {
  const auto known = known_.find(seq_id);
  if (known == known_.end() || !known->second.outcome) return nullptr;
  return &*known->second.outcome;
}

std::uint64_t op_sequencer::raise_epoch() {
  early_.clear();
  early_bytes_ = 0;
  return ++client_epoch_;
}

std::optional<error> op_sequencer::expire_gap() {
  if (early_.empty()) return std::nullopt;
  early_.clear();
  early_bytes_ = 0;
  return error{errc::seq_gap, "seq_id " + std::to_string(next_seq_id_) + " never arrived",
               "a request was lost on the way or never sent", "send the missing op first"};
}

}  // namespace troupe::logic
