#pragma once

// A checkpoint as a Hugging Face directory that transformers loads: fp32 of a training checkpoint,
// bf16 of a sampler checkpoint, with a delta folded into its base.
//
// Threading: one thread. Errors: errc::corrupt when the folded state has not the promised digest,
// errc::already_exists, storage errors.

#include <string>
#include <vector>

#include "messages/checkpoint.hpp"
#include "messages/error.hpp"
#include "storage/blob_store.hpp"

namespace troupe::apps {

/// `chain`: newest base to the wanted checkpoint, oldest first.
[[nodiscard]] result<void> export_checkpoint(storage::blob_store& blobs,
                                             const std::vector<checkpoint_record>& chain,
                                             const std::string& directory);

[[nodiscard]] const char* name_of(checkpoint_kind kind);

}  // namespace troupe::apps
