#pragma once

// What two checkpoints of one model have different: which parameters, how many of their elements,
// and by how much.
//
// Units: shares are of elements. Threading: one thread.
// Errors: errc::invalid_argument for checkpoints of different shapes; those of reading them.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/support/checkpoint_export.hpp"

namespace troupe::apps {

struct tensor_difference {
  std::string parameter;
  std::uint64_t elements = 0;
  std::uint64_t changed = 0;  ///< bits differ
  double largest = 0;         ///< absolute
  double relative = 0;        ///< norm of the difference over that of the first checkpoint
};

/// In the layout's order; parameters without a change are there too.
[[nodiscard]] result<std::vector<tensor_difference>> compare_checkpoints(checkpoint_tensors& a,
                                                                         checkpoint_tensors& b);

}  // namespace troupe::apps
