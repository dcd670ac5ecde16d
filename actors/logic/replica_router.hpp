#pragma once

// Which replica decodes a request: the one that has computed the longest beginning of its prompt,
// unless it is much busier than the idlest. A replica keeps what it computed in pages of 64 tokens,
// so beginnings are remembered in such steps.
//
// Threading: a plain value, one owner. Units: load is sequences.
// Invariants: ROUTE-1 the same history gives the same choice. ROUTE-2 memory is bounded.

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "messages/ids.hpp"

namespace troupe::logic {

struct routing_candidate {
  std::uint32_t place = 0;
  std::uint64_t load = 0;
};

class replica_router {
 public:
  /// None without candidates. The choice is remembered as knowing the prompt.
  [[nodiscard]] std::optional<std::uint32_t> choose(std::span<const token_id> prompt,
                                                    std::span<const routing_candidate> candidates);

  /// The replica has lost what it computed: it died, or its weights changed.
  void forget(std::uint32_t place);

 private:
  void remember(std::span<const std::uint64_t> beginnings, std::uint32_t place);

  std::unordered_map<std::uint64_t, std::uint32_t> places_;  ///< by digest of a beginning
  std::deque<std::uint64_t> order_;                          ///< oldest first
};

}  // namespace troupe::logic
