#pragma once

// Which checkpoints nothing needs: a pure function of what is known of all of them and of those
// that somebody uses.
//
// Threading: pure functions. Units: Unix milliseconds.
// Invariants: GC-2 a kept delta keeps its chain, and what folds it. GC-3 a run keeps its newest
//             snapshot and the one before it.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "storage/checkpoint_index.hpp"

namespace troupe::storage {

using id_set = std::set<std::string>;

/// Whether a checkpoint of that kind is there to be served.
[[nodiscard]] bool is_sampler(checkpoint_kind kind);

/// Adds of each run the two snapshots that were made from the latest ops.
void keep_newest_snapshots(const checkpoint_index::summaries& known, id_set& kept);

/// Adds what `kept` cannot do without.
void keep_chains(const checkpoint_index::summaries& known, id_set& kept);

/// Ids of what nothing needs, newest first within a run, so that a chain goes from its end.
/// `used` is what runs, deployments and readers use; sampler checkpoints younger than
/// `sampler_age_ms` are kept, and what has a name or was saved by a user.
[[nodiscard]] std::vector<std::string> unneeded(const checkpoint_index::summaries& known,
                                                id_set used, std::uint64_t sampler_age_ms,
                                                std::uint64_t now_ms);

}  // namespace troupe::storage
