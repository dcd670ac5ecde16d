#pragma once

// The codec for chunks in which many elements change, as they do at the learning rates of
// fine-tuning: a symbol for the step of every element, none included, sorted by the exponent of the
// value it changes and entropy-coded for each class of exponents by zstd. An optimizer moves all
// weights by about the same distance, so steps counted in neighbouring values depend on the size
// of the weight: one code for all of them would cost a fifth more.
//
// Threading: plain functions. Errors: errc::corrupt. Format: docs/formats/delta.md.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "messages/error.hpp"
#include "storage/delta_change_sink.hpp"

namespace troupe::storage {

/// So many elements move by this distance or more; a neighbouring value has distance 0.
struct counted_step {
  std::uint32_t distance_min = 0;
  std::uint32_t count = 0;
};

struct classed_chunk {
  std::vector<std::byte> payload;
  std::vector<counted_step> steps;  ///< enough to bound what other codecs would make of them
};

/// Requires: spans of one length, at most delta_chunk_elements.
[[nodiscard]] classed_chunk encode_classed(std::span<const std::uint16_t> before,
                                           std::span<const std::uint16_t> after);

/// errc::corrupt for any bytes that are not such a payload.
[[nodiscard]] result<void> read_classed(std::span<const std::byte> payload,
                                        std::span<const std::uint16_t> before, change_sink& sink);

}  // namespace troupe::storage
