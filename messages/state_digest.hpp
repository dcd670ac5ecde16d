#pragma once

// The digest that names a state of weights. It is part of the contract between nodes: trainer
// ranks, samplers and the checkpoint store must agree on it bit for bit, so its definition stands
// here, below all of them.
//
// digest = sum over elements of two numbers modulo 2^64 each, mixed from the element's key, which
// is (parameter index << 40) + element index, and its bits as messages/digest_term.hpp says. Sums
// commute, so slices can be digested anywhere in any order, and a change of few elements updates it
// in place. It finds what was lost, stale, misplaced or flipped, not what an attacker made to fit.
//
// Units: element indices are canonical (row-major, unpadded). Threading: pure functions.
// Invariants: DIGEST-1 the digest of a state is the sum over any partition of it.
//             DIGEST-2 replacing an element adds its new term and subtracts its old one.

#include <bit>
#include <cstdint>
#include <span>

#include "messages/digest_term.hpp"
#include "messages/model.hpp"

namespace troupe {

namespace detail {

/// Finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection with full avalanche.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace detail

/// The term of one element. `bits` is the element's memory: 16 bits for bf16, 32 for fp32.
[[nodiscard]] constexpr state_digest element_digest(std::uint32_t parameter, std::uint64_t element,
                                                    std::uint32_t bits) {
  const std::uint64_t key = (std::uint64_t{parameter} << 40) + element;
  const detail::digest_sums term = detail::digest_term(detail::digest_place(key) + bits);
  return {term.low, term.high};
}

/// Adds elements [first_element, first_element + bits.size()) of one parameter.
template <class Bits>
constexpr void add_elements(state_digest& digest, std::uint32_t parameter,
                            std::uint64_t first_element, std::span<const Bits> bits) {
  for (const Bits value : bits) {
    digest += element_digest(parameter, first_element++, static_cast<std::uint32_t>(value));
  }
}

inline void add_elements(state_digest& digest, std::uint32_t parameter, std::uint64_t first_element,
                         std::span<const float> values) {
  for (const float value : values) {
    digest += element_digest(parameter, first_element++, std::bit_cast<std::uint32_t>(value));
  }
}

/// The same sums for bf16, which whole models are made of, on the processor's widest vectors.
void add_elements(state_digest& digest, std::uint32_t parameter, std::uint64_t first_element,
                  std::span<const std::uint16_t> bits);

/// The low half of their sum alone, where 64 bits are enough to tell states apart.
[[nodiscard]] std::uint64_t low_digest(std::uint32_t parameter, std::uint64_t first_element,
                                       std::span<const std::uint16_t> bits);

/// DIGEST-2 for many elements of one parameter. Requires: spans of one length.
void replace_elements(state_digest& digest, std::uint32_t parameter,
                      std::span<const std::uint64_t> elements,
                      std::span<const std::uint16_t> before, std::span<const std::uint16_t> after);

}  // namespace troupe
