#pragma once

// What garbage collection must know of every checkpoint, held in memory: a record takes tens of
// microseconds to decode and an installation has thousands of them, which is longer than an op may
// wait for its acknowledgement. The keys of the catalog say which records came and went.
//
// Threading: one thread at a time. Errors: those of the store, errc::corrupt.
// Invariants: INDEX-1 once refresh() answers 0, all() is what the catalog holds.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "storage/checkpoint_catalog.hpp"

namespace troupe::storage {

struct checkpoint_summary {
  run_id run;
  checkpoint_kind kind = checkpoint_kind::training;
  std::uint64_t step = 0;
  std::uint64_t seq_id = 0;
  std::uint64_t created_unix_ms = 0;
  std::uint64_t bytes = 0;
  std::string parent;
  std::string folds;
  bool has_name = false;
};

class checkpoint_index {
 public:
  using summaries = std::map<std::string, checkpoint_summary>;  ///< by id

  explicit checkpoint_index(checkpoint_catalog& checkpoints) : checkpoints_(checkpoints) {}

  /// Drops what went and reads at most `records_max` of what came; answers how many are left.
  result<std::size_t> refresh(std::size_t records_max);

  [[nodiscard]] const summaries& all() const { return all_; }

 private:
  checkpoint_catalog& checkpoints_;
  summaries all_;
};

}  // namespace troupe::storage
