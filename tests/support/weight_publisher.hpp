#pragma once

// What a trainer publishes, without one: a base checkpoint of bf16 weights and deltas of them, as
// blobs with the records that the checkpoint store would have.
//
// Threading: one thread at a time. Errors: a std::runtime_error, which no test and no benchmark
// goes on after.

#include <cstdint>
#include <functional>
#include <vector>

#include "actors/engine_io/parameter_files.hpp"
#include "gpu/sampler_engine.hpp"
#include "messages/checkpoint.hpp"
#include "storage/blob_store.hpp"

namespace troupe::tests {

class weight_publisher final : public gpu::bf16_source {
 public:
  using bits_of_parameter = std::vector<std::uint16_t>;

  /// Starts with the weights of a directory, rounded to nearest.
  weight_publisher(actors::opened_model& model, storage::blob_store& blobs);

  /// All weights as they are.
  [[nodiscard]] checkpoint_record base();

  /// Lets `change` move the weights and publishes what it moved.
  [[nodiscard]] checkpoint_record delta(const std::function<void(bits_of_parameter&)>& change);

  result<void> read(const gpu::parameter_slice& slice, std::span<std::uint16_t> out) override;

  [[nodiscard]] std::uint64_t num_changed() const { return num_changed_; }  ///< by the last delta
  [[nodiscard]] const std::vector<bits_of_parameter>& bits() const { return bits_; }
  [[nodiscard]] std::vector<gpu::parameter_slice> slices() const;

 private:
  [[nodiscard]] checkpoint_record record_of(checkpoint_kind kind, const storage::blob_info& blob);

  storage::blob_store& blobs_;
  checkpoint_manifest manifest_;  ///< what all of its checkpoints share
  std::vector<bits_of_parameter> bits_;
  state_digest digest_;
  std::uint64_t num_changed_ = 0;
  std::uint64_t num_records_ = 0;
};

}  // namespace troupe::tests
