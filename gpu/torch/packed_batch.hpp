#pragma once

// Datums laid one after the other without padding: what the engine computes on. Positions restart
// with each sequence.
//
// Shapes: T = sum of lengths; S = sum of numbers of targets, equal to T where each position has
// one. Threading: plain values.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

namespace library {
struct batch_indices;
}  // namespace library

struct packed_batch {
  std::vector<token_id> tokens;           ///< [T]
  std::vector<token_id> targets;          ///< [S]
  std::vector<std::size_t> offsets;       ///< of each sequence, and T at the end
  std::vector<std::size_t> first_target;  ///< of each row, and S at the end

  /// Made from the rest by the ops of library/ that need them.
  mutable std::shared_ptr<const library::batch_indices> indices;

  [[nodiscard]] std::size_t num_tokens() const { return tokens.size(); }
  [[nodiscard]] std::size_t num_sequences() const { return offsets.size() - 1; }
  [[nodiscard]] std::size_t length(std::size_t sequence) const {
    return offsets[sequence + 1] - offsets[sequence];
  }
  [[nodiscard]] std::size_t num_targets(std::size_t sequence) const {
    return first_target[offsets[sequence + 1]] - first_target[offsets[sequence]];
  }
};

/// errc::invalid_argument names the datum that the model cannot take.
[[nodiscard]] result<void> check_batch(const model_config& model, std::span<const datum> batch);

/// Requires: check_batch.
[[nodiscard]] packed_batch pack_batch(std::span<const datum> batch);

/// Values per target, cut into one vector per sequence.
[[nodiscard]] std::vector<std::vector<float>> unpack(const packed_batch& batch,
                                                     std::span<const float> of_targets);

}  // namespace troupe::gpu
