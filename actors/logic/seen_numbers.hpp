#pragma once

// Tells a number that comes again from one that is new, without keeping every number: a link that
// is made anew may deliver a request twice, late, and out of order.
//
// Threading: none. Invariants: SEEN-1 a number is new once. SEEN-2 at most `window` numbers are
// kept; one that is older than all of them counts as seen.

#include <cstdint>
#include <set>

namespace troupe::logic {

class seen_numbers {
 public:
  static constexpr std::size_t window = 64;

  /// True when it is new; it has then been seen.
  bool note(std::uint64_t number) {
    if (number < oldest_ || !recent_.insert(number).second) return false;
    if (recent_.size() > window) {
      oldest_ = *recent_.begin() + 1;
      recent_.erase(recent_.begin());
    }
    return true;
  }

 private:
  std::uint64_t oldest_ = 0;  ///< below it everything counts as seen
  std::set<std::uint64_t> recent_;
};

}  // namespace troupe::logic
