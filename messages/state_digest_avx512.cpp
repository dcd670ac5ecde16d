#include "messages/state_digest_kernels.hpp"

namespace troupe::detail {

digest_sums add_bf16_avx512(std::uint64_t first_key, const std::uint16_t* bits, std::size_t count) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint64_t place = digest_place(first_key);
  for (std::size_t i = 0; i < count; ++i) {
    const digest_sums term = digest_term(place + bits[i]);
    low += term.low;
    high += term.high;
    place += digest_stride;
  }
  return {low, high};
}

std::uint64_t low_bf16_avx512(std::uint64_t first_key, const std::uint16_t* bits,
                              std::size_t count) {
  std::uint64_t low = 0;
  std::uint64_t place = digest_place(first_key);
  for (std::size_t i = 0; i < count; ++i) {
    low += digest_low(digest_middle(place + bits[i]));
    place += digest_stride;
  }
  return low;
}

digest_sums replace_bf16_avx512(std::uint64_t parameter_key, const std::uint64_t* elements,
                                const std::uint16_t* before, const std::uint16_t* after,
                                std::size_t count) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t place = digest_place(parameter_key + elements[i]);
    const digest_sums added = digest_term(place + after[i]);
    const digest_sums removed = digest_term(place + before[i]);
    low += added.low - removed.low;
    high += added.high - removed.high;
  }
  return {low, high};
}

}  // namespace troupe::detail
