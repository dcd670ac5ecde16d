#pragma once

// Brings bf16 weights forward along a chain of sampler checkpoints, verifying every step: a delta
// meets only the state it was made from, and the result has the digest its manifest promises.
//
// Threading: one engine thread. Errors: errc::wrong_base, errc::corrupt, storage errors; the state
// is then not to be used (callers work on a copy or throw it away).

#include <vector>

#include "actors/engine_io/parameter_files.hpp"

namespace troupe::actors {

/// Changed elements of one delta, decoded and verified chunk by chunk against `live`.
[[nodiscard]] result<std::vector<storage::decoded_chunk>> decode_checkpoint(
    storage::blob_store& blobs, const checkpoint_manifest& delta, bf16_state& live);

/// Base and deltas, oldest first, into `state`, which covers the whole model.
[[nodiscard]] result<void> load_chain(storage::blob_store& blobs,
                                      const std::vector<checkpoint_record>& chain,
                                      bf16_state& state);

}  // namespace troupe::actors
