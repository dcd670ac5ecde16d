#pragma once

// Decides what an arriving op is: the next one, one that came early, a repeat, or a mistake.
// Clients retry and send ahead, so the same op may arrive twice, late or out of order; applied it
// must be exactly once and in order of seq_id.
//
// Threading: a plain value, one owner. No clock: the owner tells when a gap has become too old.
// Errors: errc::fenced (older client_epoch), errc::seq_reused (same seq_id, other body), errc::busy
// (too far ahead or buffer full). A refused op changes nothing.
// Invariants: SEQ-1 next_seq_id only grows, by one per accepted op.
//             SEQ-2 an op is released exactly once, after every smaller seq_id.
//             SEQ-3 a repeat of an accepted op is never released again.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::logic {

struct sequenced_op {
  op_request op;
  std::string body_digest;
  std::size_t bytes = 0;
};

enum class arrival : std::uint8_t {
  released,  ///< this op, and perhaps buffered ones behind it, are now in order: take_released()
  buffered,  ///< waits for a smaller seq_id
  pending,   ///< a repeat of an op that is not finished
  finished,  ///< a repeat of an op whose outcome is stored
};

class op_sequencer {
 public:
  /// `committed` outcomes start from a journal; next_seq_id is the number expected next.
  op_sequencer(std::uint64_t client_epoch, std::uint64_t next_seq_id);

  [[nodiscard]] result<arrival> offer(sequenced_op op);

  /// Ops in order, each to be journalled and executed. Empties the list.
  [[nodiscard]] std::vector<sequenced_op> take_released();

  /// Makes an op known as accepted without releasing it (it stands in the journal already).
  void restore(std::uint64_t seq_id, std::string body_digest);

  /// Stores how an accepted op ended.
  void finish(std::uint64_t seq_id, std::variant<op_reply, error> outcome);

  [[nodiscard]] const std::variant<op_reply, error>* outcome(std::uint64_t seq_id) const;

  /// Fences every client attached before. Returns the new epoch.
  std::uint64_t raise_epoch();

  /// Drops ops that wait for a missing seq_id, which the error names.
  [[nodiscard]] std::optional<error> expire_gap();

  [[nodiscard]] std::uint64_t client_epoch() const { return client_epoch_; }
  [[nodiscard]] std::uint64_t next_seq_id() const { return next_seq_id_; }
  [[nodiscard]] std::size_t num_buffered() const { return early_.size(); }

 private:
  struct known_op {
    std::string body_digest;
    std::optional<std::variant<op_reply, error>> outcome;
  };

  [[nodiscard]] result<arrival> repeat(const sequenced_op& op) const;
  void accept(sequenced_op op);
  void forget_old();

  std::uint64_t client_epoch_;
  std::uint64_t next_seq_id_;
  std::map<std::uint64_t, known_op> known_;
  std::map<std::uint64_t, sequenced_op> early_;
  std::size_t early_bytes_ = 0;
  std::vector<sequenced_op> released_;
};

}  // namespace troupe::logic
