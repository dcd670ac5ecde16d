#pragma once

// When a run stops adding deltas to a chain and publishes a base again: when the chain has its
// greatest length, when its deltas cost a late reader too much beside a base, and when somebody
// could not verify it. The doubt is durable, because whoever found it may find it again too late.
//
// Threading: one thread at a time (the checkpoint store's). Errors: those of the store.
// Invariants: CHAIN-1 nothing is published on top of a chain that was doubted.

#include <optional>
#include <string>

#include "messages/checkpoint.hpp"
#include "storage/checkpoint_catalog.hpp"

namespace troupe::storage {

/// Whether a chain is folded where this checkpoint ends it.
[[nodiscard]] bool is_fold_due(const checkpoint_manifest& manifest);

struct chain_advice {
  publish_plan plan;
  std::optional<checkpoint_id> unfolded;  ///< the newest of the chain whose fold is missing
};

class chain_planner {
 public:
  chain_planner(key_value_store& values, checkpoint_catalog& checkpoints)
      : values_(values), checkpoints_(checkpoints) {}

  /// The whole chain of `checkpoint` is doubted, whichever of its files is the damaged one.
  result<void> doubt(const checkpoint_id& checkpoint, const std::string& reason);

  /// A chain that cannot be read is as good as doubted.
  result<chain_advice> plan(const checkpoint_id& published);

 private:
  key_value_store& values_;
  checkpoint_catalog& checkpoints_;
};

}  // namespace troupe::storage
