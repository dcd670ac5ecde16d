#include <immintrin.h>

#include "storage/delta_rows_kernels.hpp"

namespace troupe::storage::detail {

namespace {

constexpr std::size_t lanes = 16;

__m256i load(const std::uint16_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

void store(std::uint16_t* to, __m512i lanes_of_32) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(lanes_of_32));
}

/// Places of values in their order, as ordinal_of.
__m512i ordinals(__m256i bits) {
  const __m256i sign = _mm256_srai_epi16(bits, 15);
  const __m256i mask = _mm256_or_si256(sign, _mm256_set1_epi16(static_cast<short>(0x8000)));
  return _mm512_cvtepu16_epi32(_mm256_xor_si256(bits, mask));
}

/// Bits of sixteen elements at `from` for which `keep` is set, one after the other.
void compress(__mmask16 keep, __m256i from, std::uint16_t* to) {
  store(to, _mm512_maskz_compress_epi32(keep, _mm512_cvtepu16_epi32(from)));
}

__m512i places_of(__mmask16 keep) {
  const __m512i all = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_maskz_compress_epi32(keep, all);
}

void put_places(std::uint32_t* to, std::uint32_t first, __m512i places) {
  _mm512_storeu_si512(to, _mm512_add_epi32(places, _mm512_set1_epi32(static_cast<int>(first))));
}

void put_places(std::uint64_t* to, std::uint64_t first, __m512i places) {
  const __m512i base = _mm512_set1_epi64(static_cast<long long>(first));
  const __m512i low = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(places));
  const __m512i high = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(places, 1));
  _mm512_storeu_si512(to, _mm512_add_epi64(low, base));
  _mm512_storeu_si512(to + lanes / 2, _mm512_add_epi64(high, base));
}

template <class Place>
vector_part changed(const std::uint16_t* before, const std::uint16_t* after, std::size_t count,
                    Place first, Place* places, std::uint16_t* old_bits, std::uint16_t* new_bits) {
  vector_part done{0, 0};
  for (; done.elements + lanes <= count; done.elements += lanes) {
    const __m256i a = load(before + done.elements);
    const __m256i b = load(after + done.elements);
    const __mmask16 keep = _mm256_cmpneq_epi16_mask(a, b);
    if (keep == 0) continue;
    put_places(places + done.changed, static_cast<Place>(first + done.elements), places_of(keep));
    compress(keep, a, old_bits + done.changed);
    compress(keep, b, new_bits + done.changed);
    done.changed += static_cast<std::size_t>(__builtin_popcount(keep));
  }
  return done;
}

}  // namespace

vector_part count_changed_avx512(const std::uint16_t* before, const std::uint16_t* after,
                                 std::size_t count) {
  vector_part done{0, 0};
  for (; done.elements + 2 * lanes <= count; done.elements += 2 * lanes) {
    const __mmask32 differs = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(before + done.elements),
                                                       _mm512_loadu_si512(after + done.elements));
    done.changed += static_cast<std::size_t>(__builtin_popcount(differs));
  }
  return done;
}

vector_part changed32_avx512(const std::uint16_t* before, const std::uint16_t* after,
                             std::size_t count, std::uint32_t first, std::uint32_t* places,
                             std::uint16_t* old_bits, std::uint16_t* new_bits) {
  return changed(before, after, count, first, places, old_bits, new_bits);
}

vector_part changed64_avx512(const std::uint16_t* before, const std::uint16_t* after,
                             std::size_t count, std::uint64_t first, std::uint64_t* places,
                             std::uint16_t* old_bits, std::uint16_t* new_bits) {
  return changed(before, after, count, first, places, old_bits, new_bits);
}

std::size_t zigzag_avx512(const std::uint16_t* before, const std::uint16_t* after,
                          std::size_t count, std::uint8_t limit, std::uint8_t* out) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const __m512i back = _mm512_sub_epi32(ordinals(load(before + i)), ordinals(load(after + i)));
    const __m512i zigzag =
        _mm512_xor_si512(_mm512_slli_epi32(back, 1), _mm512_srai_epi32(back, 31));
    const __m512i bounded = _mm512_min_epu32(zigzag, _mm512_set1_epi32(limit));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm512_cvtepi32_epi8(bounded));
  }
  return i;
}

std::size_t move_avx512(const std::uint16_t* before, const std::uint8_t* zigzag, std::size_t count,
                        std::uint16_t* after, std::uint32_t* beyond) {
  __m512i all = _mm512_setzero_si512();
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const __m512i z =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(zigzag + i)));
    const __m512i odd = _mm512_and_si512(z, _mm512_set1_epi32(1));
    const __m512i back =
        _mm512_xor_si512(_mm512_srli_epi32(z, 1), _mm512_sub_epi32(_mm512_setzero_si512(), odd));
    const __m512i to = _mm512_sub_epi32(ordinals(load(before + i)), back);
    all = _mm512_or_si512(all, to);
    // The inverse of ordinal_of: values in the lower half have the sign bit.
    const __m512i is_upper = _mm512_srai_epi32(_mm512_slli_epi32(to, 16), 31);
    const __m512i mask = _mm512_or_si512(_mm512_xor_si512(is_upper, _mm512_set1_epi32(-1)),
                                         _mm512_set1_epi32(0x8000));
    store(after + i, _mm512_xor_si512(to, mask));
  }
  *beyond |= static_cast<std::uint32_t>(_mm512_reduce_or_epi32(all));
  return i;
}

}  // namespace troupe::storage::detail
