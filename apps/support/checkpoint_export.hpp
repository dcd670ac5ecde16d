#pragma once

// A checkpoint as a Hugging Face directory that transformers loads: fp32 of a training checkpoint,
// bf16 of a sampler checkpoint, with a delta folded into its base.
//
// Threading: one thread. Errors: errc::corrupt when the folded state has not the promised digest,
// errc::already_exists, storage errors.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "messages/checkpoint.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"
#include "storage/blob_store.hpp"

namespace troupe::apps {

/// Values of a checkpoint's parameters. Files of its chain are verified when it is opened.
class checkpoint_tensors {
 public:
  virtual ~checkpoint_tensors() = default;
  [[nodiscard]] virtual const std::vector<parameter_spec>& layout() const = 0;
  virtual result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) = 0;
};

[[nodiscard]] result<std::unique_ptr<checkpoint_tensors>> open_checkpoint(
    storage::blob_store& blobs, const std::vector<checkpoint_record>& chain);

/// `chain`: newest base to the wanted checkpoint, oldest first.
[[nodiscard]] result<void> export_checkpoint(storage::blob_store& blobs,
                                             const std::vector<checkpoint_record>& chain,
                                             const std::string& directory);

[[nodiscard]] const char* name_of(checkpoint_kind kind);

}  // namespace troupe::apps
