#pragma once

// The operations of one run that wait for their turn, in the order of their calls. A custom pass is
// two of them with the caller's loss between: while that is computed the cluster need not wait, so
// the phases of other custom passes may be sent meanwhile. Nothing else may pass a second phase
// that is still to come: it was called later and would see other gradients.
//
// Threading: one thread.
// Invariants: ORDER-1 second phases leave in the order of their first ones, and before whatever was
//             called after them: gradients add up as if no pass had overlapped.

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "messages/training.hpp"

namespace troupe::client {

enum class pass_phase : std::uint8_t {
  whole = 0,   ///< an operation of its own
  first = 1,   ///< a forward that is answered to a loss
  second = 2,  ///< the backward that this loss gave
};

struct submission {
  op_body body;
  std::string cursor;
  /// Told the answer and its number; that of a first phase may give its second one.
  std::function<std::optional<submission>(std::uint64_t seq_id, const result<op_reply>&)> done;
  /// The number it was sent under by an earlier client, or that it will have if none before it is
  /// refused; 0: the next one.
  std::uint64_t seq_id = 0;
  /// Told the number before the run is; called in the hub.
  std::function<void(std::uint64_t seq_id)> numbered = {};
  pass_phase phase = pass_phase::whole;
};

class submission_queue {
 public:
  void add(submission next) { waiting_.push_back(std::move(next)); }

  /// Requires: what `take_beside` gave while its loss was computed has left already.
  void add_second_phase(submission next) { waiting_.push_front(std::move(next)); }

  [[nodiscard]] std::optional<submission> take();

  /// What may be sent while the loss of a first phase is computed.
  [[nodiscard]] std::optional<submission> take_beside();

 private:
  std::deque<submission> waiting_;
};

}  // namespace troupe::client
