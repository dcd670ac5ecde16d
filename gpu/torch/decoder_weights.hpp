#pragma once

// The weights a decoder multiplies by, in the layout its kernels read. A whole set is filled beside
// the live one and swapped in; single changes are turned into places beforehand, so that making
// them live is nothing but writes.
//
// Units: elements in canonical space; places as packed_matrix counts them.
// Threading: filled by one thread; read by many.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/parameter_io.hpp"
#include "gpu/sampler_engine.hpp"
#include "gpu/torch/packed_matrix.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// A packed matrix, or the vector of a norm or bias.
struct parameter_store {
  std::vector<packed_matrix> matrix;  ///< at most one
  at::Tensor vector;
};

/// A patch in places of the layout.
struct placed_patch {
  std::uint32_t parameter = 0;
  std::vector<std::uint64_t> places;
  std::vector<std::uint16_t> bits;
};

class decoder_weights {
 public:
  explicit decoder_weights(std::span<const parameter_spec> layout);

  /// Requires: the slice lies inside the layout.
  void assign(const parameter_slice& slice, std::span<const std::uint16_t> bits);

  /// Requires: the patch's elements lie inside the layout.
  [[nodiscard]] placed_patch place(const element_patch& patch) const;
  void replace(const placed_patch& patch);

  [[nodiscard]] const parameter_store& operator[](std::size_t index) const {
    return parameters_[index];
  }

 private:
  std::vector<parameter_store> parameters_;
};

}  // namespace troupe::gpu
