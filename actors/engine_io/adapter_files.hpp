#pragma once

// Sampler checkpoints of adapter runs: they hold the adapters alone, in fp32, and name the bf16
// state of the base these stand on. Whoever serves them has the base already; whoever exports them
// merged reads it from its directory.
//
// Threading: each object belongs to one thread. Errors: errc::corrupt when the adapters are not
// what the record promises, errc::wrong_base when the directory's weights are not the base; those
// of storage.

#include <map>
#include <memory>
#include <vector>

#include "actors/engine_io/parameter_files.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/trainer_engine.hpp"
#include "messages/checkpoint.hpp"

namespace troupe::actors {

/// Whole bf16 weights of a model directory, rounded to nearest.
[[nodiscard]] result<bf16_state> read_directory(opened_model& model);

struct adapter_base {
  opened_model model;
  bf16_state weights;
};

/// The base of an adapter checkpoint from its directory, its weights compared with the record.
[[nodiscard]] result<adapter_base> open_base(const checkpoint_manifest& adapter);

/// The adapters of a checkpoint in memory, verified.
class adapter_values final : public gpu::parameter_source {
 public:
  /// Requires: the manifest's kind is sampler_adapter.
  static result<adapter_values> load(storage::blob_store& blobs,
                                     const checkpoint_manifest& manifest);

  result<void> read(gpu::state_part part, const gpu::parameter_slice& slice,
                    std::span<float> out) override;

  /// Adds what the adapters give to elements of a matrix, from `slice` on.
  void merge(const gpu::parameter_slice& slice, std::span<float> values) const;

  [[nodiscard]] const lora_config& lora() const { return lora_; }

 private:
  adapter_values(const model_config& model, const lora_config& lora);

  lora_config lora_;
  std::vector<gpu::adapter> adapters_;
  std::map<std::uint32_t, std::vector<float>> values_;  ///< by parameter
};

/// Writes this rank's adapters as one file.
[[nodiscard]] result<storage::blob_info> write_adapters(
    storage::blob_store& blobs, const std::vector<gpu::parameter_slice>& slices,
    const gpu::trainer_engine& engine);

}  // namespace troupe::actors
