#pragma once

// Forward passes that wait for the second phase of their loss. A client may open several before it
// comes back with the first gradient, so they share one budget: the oldest first give up what can
// be computed again, the states of their blocks one by one, then the blocks' inputs, until only
// their tokens are left. What a pass gave up costs time in its backward, and changes no bit.
//
// Units: bytes. Threading: one thread.
// Invariants: OPEN-1 between two calls everything held fits the budget, however many are open.

#include <cstdint>
#include <deque>

#include "gpu/torch/transformer.hpp"

namespace troupe::gpu {

class open_forwards {
 public:
  explicit open_forwards(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Makes open passes give up the states of their blocks for all that a new pass wants, and the
  /// inputs for what it cannot do without.
  void make_room(const pass_bytes& wanted);

  /// Replaces one of the same number; beyond limits::kept_forwards_max the oldest is dropped.
  void keep(std::uint64_t seq_id, kept_pass pass);

  /// Null when it is not open.
  [[nodiscard]] kept_pass* find(std::uint64_t seq_id);
  void erase(std::uint64_t seq_id);
  void clear() { list_.clear(); }

  [[nodiscard]] std::size_t held_bytes() const;

 private:
  struct open_forward {
    std::uint64_t seq_id = 0;
    kept_pass pass;
  };

  std::size_t bytes_max_;
  std::deque<open_forward> list_;
};

}  // namespace troupe::gpu
