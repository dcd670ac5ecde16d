#pragma once

// Loops over chunks of weights on all cores. A codec is busy for milliseconds a chunk and for
// seconds a model, so threads are made for each loop and none wait in between.
//
// Threading: `work` runs on several threads at once, for another index on each. Errors: that of the
// lowest index that failed; indices behind it may not have run. An exception of `work` is thrown
// again to the caller.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "messages/error.hpp"

namespace troupe::storage {

/// How many cores a codec may use. What it gives does not depend on it.
enum class cores : std::uint8_t { one, all };

/// One where threads cost more than they spare.
[[nodiscard]] constexpr cores worth(cores use, std::uint64_t num_elements) {
  return num_elements < 1024 * 1024 ? cores::one : use;
}

/// work(i) for i in [0, count). Loops of one index run on their caller.
[[nodiscard]] result<void> for_each_index(std::size_t count, cores use,
                                          const std::function<result<void>(std::size_t)>& work);

}  // namespace troupe::storage
