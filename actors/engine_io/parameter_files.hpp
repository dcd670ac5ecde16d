#pragma once

// Joins the engine's ports with files: the engine asks for slices of parameters, storage knows
// directories and blobs, and neither sees the other.
//
// Threading: each object belongs to one engine thread. Errors: those of storage, passed through.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gpu/parameter_io.hpp"
#include "gpu/sampler_engine.hpp"
#include "messages/checkpoint.hpp"
#include "messages/model.hpp"
#include "storage/blob_store.hpp"
#include "storage/hf_directory.hpp"
#include "storage/slice_file.hpp"
#include "storage/weight_delta.hpp"

namespace troupe::actors {

/// bf16 of a float: nearest, ties to even; NaN stays NaN.
[[nodiscard]] std::uint16_t to_bf16(float value);
[[nodiscard]] float from_bf16(std::uint16_t bits);

/// A model directory whose tensors fit the layout of its own config.
struct opened_model {
  std::unique_ptr<storage::hf_directory> files;
  std::vector<parameter_spec> layout;
};

[[nodiscard]] result<opened_model> open_model(const model_source& source);

/// Every parameter of a layout as one slice.
[[nodiscard]] std::vector<gpu::parameter_slice> whole_model(
    const std::vector<parameter_spec>& layout);

/// Names the weights of a directory by its path and the sizes and times of its files, so that other
/// weights put in the same place are not taken for the old ones. Empty when it cannot be read.
[[nodiscard]] std::string weights_identity(const model_source& source);

/// Weights of a model directory; moments are not there (errc::internal if asked for).
class hf_source final : public gpu::parameter_source {
 public:
  explicit hf_source(opened_model& model) : model_(model) {}
  result<void> read(gpu::state_part part, const gpu::parameter_slice& slice,
                    std::span<float> out) override;

 private:
  opened_model& model_;
};

/// Weights and moments of a training checkpoint, whoever wrote it.
class slice_source final : public gpu::parameter_source {
 public:
  explicit slice_source(storage::slice_reader& reader) : reader_(reader) {}
  result<void> read(gpu::state_part part, const gpu::parameter_slice& slice,
                    std::span<float> out) override;

 private:
  storage::slice_reader& reader_;
};

class slice_sink final : public gpu::parameter_sink {
 public:
  explicit slice_sink(storage::slice_writer& writer) : writer_(writer) {}
  result<void> write(gpu::state_part part, const gpu::parameter_slice& slice,
                     std::span<const float> values) override;

 private:
  storage::slice_writer& writer_;
};

/// Slices copied aside, to be written as a file while the engine goes on. Its memory is kept for
/// the next copy: fresh pages cost more than the copy itself, and ops wait for it.
class memory_sink final : public gpu::parameter_sink {
 public:
  void start_again();
  result<void> write(gpu::state_part part, const gpu::parameter_slice& slice,
                     std::span<const float> values) override;
  [[nodiscard]] result<storage::blob_info> write_to(storage::blob_store& blobs) const;

 private:
  std::vector<storage::slice_entry> entries_;
  std::vector<std::vector<float>> values_;  ///< one per entry, and spare ones
};

/// bf16 weights of some slices in memory: what a rank published last, or what a sampler serves.
class bf16_state final : public gpu::bf16_sink, public gpu::bf16_source {
 public:
  bf16_state() = default;
  explicit bf16_state(const std::vector<gpu::parameter_slice>& slices);

  result<void> write(const gpu::parameter_slice& slice,
                     std::span<const std::uint16_t> bits) override;
  result<void> read(const gpu::parameter_slice& slice, std::span<std::uint16_t> out) override;

  /// A slice to be changed in place by who knows what that adds to the digest; errc::wrong_base
  /// where it is not held here. Reads of other slices may run beside it.
  [[nodiscard]] result<std::span<std::uint16_t>> elements(const gpu::parameter_slice& slice);
  void add_to_digest(const state_digest& change) { digest_ += change; }

  /// The digest these changes would give; errc::wrong_base for elements that are not held here.
  [[nodiscard]] result<state_digest> digest_with(const std::vector<storage::decoded_chunk>& chunks);

  /// Replaces single elements. Requires: `after` is their digest_with().
  void apply(const std::vector<storage::decoded_chunk>& chunks, const state_digest& after);

  [[nodiscard]] state_digest digest() const { return digest_; }
  void refresh_digest();
  [[nodiscard]] bool empty() const { return slices_.empty(); }
  [[nodiscard]] const std::vector<gpu::parameter_slice>& slices() const { return slices_; }
  [[nodiscard]] std::span<const std::uint16_t> bits(std::size_t slice) const {
    return bits_[slice];
  }

 private:
  [[nodiscard]] std::uint16_t* find(std::uint32_t parameter, std::uint64_t begin,
                                    std::uint64_t end);

  std::vector<gpu::parameter_slice> slices_;  ///< sorted by parameter, begin
  std::vector<std::vector<std::uint16_t>> bits_;
  state_digest digest_;
};

/// Fills `state` from a sampler base (errc::corrupt when the digest does not fit at the end of the
/// caller's chain; the caller compares).
[[nodiscard]] result<void> load_base(storage::blob_store& blobs, const checkpoint_manifest& base,
                                     bf16_state& state);

}  // namespace troupe::actors
