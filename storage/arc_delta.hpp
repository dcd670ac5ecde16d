#pragma once

// Deltas between two model directories in the form that Fireworks' hot-load takes ("arc_v2"), read
// and written for interoperation: per shard one safetensors file of the same name, in which each
// tensor is the XOR of both states under zstd, with the Adler-32 of the new state beside it. The
// form knows neither its base nor its types, so a delta is recognised by what it is: all U8 with a
// checksum each. The own form (docs/formats/delta.md) is smaller and knows its base.
//
// Threading: one thread. Units: bytes.
// Errors: errc::invalid_argument for directories that do not fit together or are no such delta;
// errc::wrong_base or errc::corrupt when a checksum fails; errc::already_exists for the target;
// storage errors. Nothing appears under the target's name unless all of it was verified.
// Source: PyPI fireworks-delta-compression 0.1.0, with which the tests compare.

#include <cstdint>
#include <string>

#include "messages/error.hpp"

namespace troupe::storage {

struct arc_summary {
  std::uint64_t files = 0;
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;        ///< of all tensors
  std::uint64_t delta_bytes = 0;  ///< of their compressed differences
};

/// What turns `before` into `after`; other files are copied from `after`.
[[nodiscard]] result<arc_summary> write_arc_delta(const std::string& before,
                                                  const std::string& after,
                                                  const std::string& target);

/// `before` with the delta applied, as a new directory; other files are copied from `before`.
[[nodiscard]] result<arc_summary> apply_arc_delta(const std::string& before,
                                                  const std::string& delta,
                                                  const std::string& target);

}  // namespace troupe::storage
