#pragma once

// The loops of messages/state_digest.hpp for processors with AVX-512, whose 64-bit vector products
// make them several times faster. Their unit is compiled for such processors alone, so it must
// contain nothing that the linker could share with other units: this header has plain types only.
//
// Threading: pure functions. Source: the definition in messages/state_digest.hpp.

#include <cstddef>
#include <cstdint>

#include "messages/digest_term.hpp"

namespace troupe::detail {

/// Sums modulo 2^64 of the terms; a replacement is new terms minus old ones.
digest_sums add_bf16_avx512(std::uint64_t first_key, const std::uint16_t* bits, std::size_t count);
std::uint64_t low_bf16_avx512(std::uint64_t first_key, const std::uint16_t* bits,
                              std::size_t count);
digest_sums replace_bf16_avx512(std::uint64_t parameter_key, const std::uint64_t* elements,
                                const std::uint16_t* before, const std::uint16_t* after,
                                std::size_t count);

}  // namespace troupe::detail
