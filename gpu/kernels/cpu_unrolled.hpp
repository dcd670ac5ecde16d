#pragma once

// Loops whose counter is a constant in each turn: sums that a variable indexed would live in memory
// instead of registers. For units compiled for particular processors: bodies are of one unit, so
// that nothing is shared by the linker.
//
// Threading: pure functions.

#include <cstddef>
#include <utility>

namespace troupe::gpu::kernels {

template <class Body, std::size_t... I>
[[gnu::always_inline]] inline void unrolled(const Body& body, std::index_sequence<I...>) {
  (body(std::integral_constant<std::size_t, I>()), ...);
}

/// Body for 0 to Count - 1.
template <std::size_t Count, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  unrolled(body, std::make_index_sequence<Count>());
}

}  // namespace troupe::gpu::kernels
