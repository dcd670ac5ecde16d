#include "messages/state_digest_kernels.hpp"

namespace troupe::detail {

namespace {

struct terms {
  std::uint64_t low;
  std::uint64_t high;
};

inline std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr std::uint64_t key_stride = 0x9e3779b97f4a7c15ULL;

inline std::uint64_t spread(std::uint64_t key) {
  return key * key_stride + 0x632be59bd9b4e019ULL;
}

inline terms terms_of(std::uint64_t h) {
  return {mix(h), mix(h ^ 0xd6e8feb86659fd93ULL)};
}

}  // namespace

digest_sums add_bf16_avx512(std::uint64_t first_key, const std::uint16_t* bits, std::size_t count) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint64_t key = spread(first_key);
  for (std::size_t i = 0; i < count; ++i) {
    const terms t = terms_of(mix(key) + bits[i]);
    low += t.low;
    high += t.high;
    key += key_stride;
  }
  return {low, high};
}

std::uint64_t low_bf16_avx512(std::uint64_t first_key, const std::uint16_t* bits,
                              std::size_t count) {
  std::uint64_t low = 0;
  std::uint64_t key = spread(first_key);
  for (std::size_t i = 0; i < count; ++i) {
    low += mix(mix(key) + bits[i]);
    key += key_stride;
  }
  return low;
}

digest_sums replace_bf16_avx512(std::uint64_t parameter_key, const std::uint64_t* elements,
                                const std::uint16_t* before, const std::uint16_t* after,
                                std::size_t count) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t h = mix(spread(parameter_key + elements[i]));
    const terms added = terms_of(h + after[i]);
    const terms removed = terms_of(h + before[i]);
    low += added.low - removed.low;
    high += added.high - removed.high;
  }
  return {low, high};
}

}  // namespace troupe::detail
