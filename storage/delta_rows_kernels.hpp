#pragma once

// The loops of storage/delta_rows.hpp for processors with AVX-512. Their unit is compiled for such
// processors alone, so it must contain nothing that the linker could share with other units: this
// header has plain types only.
//
// Each takes as many whole vectors as its row has and answers how many elements those were.
//
// Threading: pure functions.

#include <cstddef>
#include <cstdint>

namespace troupe::storage::detail {

/// What vectors did of a row.
struct vector_part {
  std::size_t elements;  ///< gone over
  std::size_t changed;   ///< found to differ
};

vector_part count_changed_avx512(const std::uint16_t* before, const std::uint16_t* after,
                                 std::size_t count);
vector_part changed32_avx512(const std::uint16_t* before, const std::uint16_t* after,
                             std::size_t count, std::uint32_t first, std::uint32_t* places,
                             std::uint16_t* old_bits, std::uint16_t* new_bits);
vector_part changed64_avx512(const std::uint16_t* before, const std::uint16_t* after,
                             std::size_t count, std::uint64_t first, std::uint64_t* places,
                             std::uint16_t* old_bits, std::uint16_t* new_bits);
std::size_t zigzag_avx512(const std::uint16_t* before, const std::uint16_t* after,
                          std::size_t count, std::uint8_t limit, std::uint8_t* out);

/// `beyond` gets bits above the lowest 16 when a step leaves the order of values.
std::size_t move_avx512(const std::uint16_t* before, const std::uint8_t* zigzag, std::size_t count,
                        std::uint16_t* after, std::uint32_t* beyond);

}  // namespace troupe::storage::detail
