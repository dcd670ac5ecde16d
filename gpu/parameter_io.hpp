#pragma once

// How an engine's state enters and leaves it. The engine knows parameters by their index in the
// model's layout and by element ranges in canonical space (global shape, row-major, unpadded);
// files, checkpoints and deltas are somebody else's business behind these ports.
//
// Units: elements. Threading: called from the engine's thread only.
// Errors: whatever the source or sink reports is passed on; the engine is then unusable until a
// load succeeds.

#include <cstdint>
#include <span>

#include "messages/error.hpp"

namespace troupe::gpu {

enum class state_part : std::uint8_t { weights = 0, exp_avg = 1, exp_avg_sq = 2 };

/// Elements [begin, end) of one parameter.
struct parameter_slice {
  std::uint32_t parameter = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool operator==(const parameter_slice&) const = default;
  [[nodiscard]] std::uint64_t num_elements() const { return end - begin; }
};

class parameter_source {
 public:
  virtual ~parameter_source() = default;
  /// Fills `out`, whose size is the slice's number of elements.
  virtual result<void> read(state_part part, const parameter_slice& slice,
                            std::span<float> out) = 0;
};

class parameter_sink {
 public:
  virtual ~parameter_sink() = default;
  virtual result<void> write(state_part part, const parameter_slice& slice,
                             std::span<const float> values) = 0;
};

/// Takes weights rounded to bf16 (nearest, ties to even), as their 16 bits.
class bf16_sink {
 public:
  virtual ~bf16_sink() = default;
  virtual result<void> write(const parameter_slice& slice, std::span<const std::uint16_t> bits) = 0;
};

}  // namespace troupe::gpu
