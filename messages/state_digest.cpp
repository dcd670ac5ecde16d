#include "messages/state_digest.hpp"

#include "messages/state_digest_kernels.hpp"

namespace troupe {

namespace {

#if defined(TROUPE_DIGEST_AVX512)
std::uint64_t key_of(std::uint32_t parameter) {
  return std::uint64_t{parameter} << 40;
}

bool has_wide_vectors() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return has;
}
#endif

}  // namespace

void add_elements(state_digest& digest, std::uint32_t parameter, std::uint64_t first_element,
                  std::span<const std::uint16_t> bits) {
#if defined(TROUPE_DIGEST_AVX512)
  if (has_wide_vectors()) {
    const auto sums =
        detail::add_bf16_avx512(key_of(parameter) + first_element, bits.data(), bits.size());
    digest += state_digest{sums.low, sums.high};
    return;
  }
#endif
  for (const std::uint16_t value : bits)
    digest += element_digest(parameter, first_element++, value);
}

std::uint64_t low_digest(std::uint32_t parameter, std::uint64_t first_element,
                         std::span<const std::uint16_t> bits) {
#if defined(TROUPE_DIGEST_AVX512)
  if (has_wide_vectors())
    return detail::low_bf16_avx512(key_of(parameter) + first_element, bits.data(), bits.size());
#endif
  std::uint64_t sum = 0;
  for (const std::uint16_t value : bits)
    sum += element_digest(parameter, first_element++, value).low;
  return sum;
}

void replace_elements(state_digest& digest, std::uint32_t parameter,
                      std::span<const std::uint64_t> elements,
                      std::span<const std::uint16_t> before, std::span<const std::uint16_t> after) {
#if defined(TROUPE_DIGEST_AVX512)
  if (has_wide_vectors()) {
    const auto sums = detail::replace_bf16_avx512(key_of(parameter), elements.data(), before.data(),
                                                  after.data(), elements.size());
    digest += state_digest{sums.low, sums.high};
    return;
  }
#endif
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const state_digest gone = element_digest(parameter, elements[i], before[i]);
    digest += state_digest{0 - gone.low, 0 - gone.high};
    digest += element_digest(parameter, elements[i], after[i]);
  }
}

}  // namespace troupe
