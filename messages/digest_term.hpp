#pragma once

// What one element adds to a state digest, for the units that compute it: the definition in
// messages/state_digest.hpp, and the loops for particular processors.
//
// Places are spread by a constant odd stride, the element's bits are added, and the sum goes
// through the finaliser of splitmix64 (Steele, Lea, Flood 2014), made for such inputs. The high
// half leaves it after its first product and ends with another shift and product: three products
// of 64 bits for both halves, which are what a digest's time goes into.
//
// Units are compiled for particular processors, so functions here are of one unit each and never
// shared by the linker. Threading: pure functions.
// Invariants: TERM-1 each half is a bijection of place + bits.

#include <cstdint>

namespace troupe::detail {

struct digest_sums {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

/// Between the places of neighbouring elements.
static constexpr std::uint64_t digest_stride = 0x9e3779b97f4a7c15ULL;

/// Of the element with key = (parameter << 40) + element.
[[gnu::always_inline]] static inline constexpr std::uint64_t digest_place(std::uint64_t key) {
  return key * digest_stride + 0x632be59bd9b4e019ULL;
}

/// Word is one of 64 bits or a vector of such.
template <class Word>
[[gnu::always_inline]] static inline constexpr Word digest_middle(const Word& h) {
  return (h ^ (h >> 30U)) * 0xbf58476d1ce4e5b9ULL;
}

template <class Word>
[[gnu::always_inline]] static inline constexpr Word digest_low(const Word& middle) {
  const Word x = (middle ^ (middle >> 27U)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

template <class Word>
[[gnu::always_inline]] static inline constexpr Word digest_high(const Word& middle) {
  const Word x = (middle ^ (middle >> 33U)) * 0xd6e8feb86659fd93ULL;
  return x ^ (x >> 32U);
}

/// `h` is the element's place plus its bits.
[[gnu::always_inline]] static inline constexpr digest_sums digest_term(std::uint64_t h) {
  const std::uint64_t middle = digest_middle(h);
  return {digest_low(middle), digest_high(middle)};
}

}  // namespace troupe::detail
