#pragma once

// Size of libtorch's thread pool. Call before any other work of the library.
//
// Threading: once per process.

#include <cstdint>

namespace troupe::gpu {

void set_maths_threads(std::uint32_t num_threads);

}  // namespace troupe::gpu
