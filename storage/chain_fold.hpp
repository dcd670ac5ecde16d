#pragma once

// Folds a chain of deltas into one that gives the last state from the base: what several steps
// changed again and again is written once, so whoever comes late reads the base and little more.
//
// The chain is not loaded: places that any delta changes are gone through in order, some millions
// of elements at a time, each read from the base and brought forward chunk by chunk with the
// digests of every delta checked on the way. So memory is bounded whatever the size of the model.
//
// Threading: plain function; reads and writes blobs, may take minutes.
// Errors: errc::wrong_base and errc::corrupt when the chain does not hold, storage errors. Blobs
// written before a failure are garbage without a record.
// Invariants: FOLD-1 the folded delta ends at the state that the chain's last record promises.

#include <vector>

#include "messages/checkpoint.hpp"
#include "storage/blob_store.hpp"

namespace troupe::storage {

/// The record of the folded delta, its files durable. Requires: a complete chain, base first, with
/// at least one delta.
[[nodiscard]] result<checkpoint_manifest> fold_chain(blob_store& blobs,
                                                     const std::vector<checkpoint_record>& chain);

}  // namespace troupe::storage
