#pragma once

// Which adapters a sampler holds, within a budget of bytes. A request pins its adapter; those that
// nobody pins stay for the next request until room is needed, and then the one unused for longest
// goes first.
//
// Threading: a plain value, one owner. Units: bytes.
// Errors: errc::busy when everything that could go is pinned; errc::invalid_argument for an adapter
// larger than the budget. Invariants: SHELF-1 a pinned adapter never goes.

#include <cstdint>
#include <map>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace troupe::logic {

class adapter_shelf {
 public:
  adapter_shelf(std::uint64_t bytes_max, std::size_t adapters_max)
      : bytes_max_(bytes_max), adapters_max_(adapters_max) {}

  [[nodiscard]] bool has(const checkpoint_id& adapter) const { return adapters_.contains(adapter); }

  /// Takes a new one in and pins it; answers those that went for it.
  [[nodiscard]] result<std::vector<checkpoint_id>> add(const checkpoint_id& adapter,
                                                       std::uint64_t bytes);

  /// Requires: has(adapter).
  void pin(const checkpoint_id& adapter);
  void unpin(const checkpoint_id& adapter);

  /// Forgets all, pinned ones too.
  void clear() { adapters_.clear(); }

  [[nodiscard]] std::size_t num_adapters() const { return adapters_.size(); }
  [[nodiscard]] std::uint64_t num_bytes() const;

 private:
  struct entry {
    std::uint64_t bytes = 0;
    std::uint64_t pins = 0;
    std::uint64_t used = 0;
  };

  std::uint64_t bytes_max_;
  std::size_t adapters_max_;
  std::uint64_t clock_ = 0;
  std::map<checkpoint_id, entry> adapters_;
};

}  // namespace troupe::logic
