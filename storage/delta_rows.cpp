#include "storage/delta_rows.hpp"

#include <algorithm>

#include "storage/delta_chunk.hpp"
#include "storage/delta_rows_kernels.hpp"

namespace troupe::storage {

namespace {

using detail::vector_part;

#if defined(TROUPE_DELTA_AVX512)
bool has_wide_vectors() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return has;
}
#endif

vector_part count_with_vectors([[maybe_unused]] const row_pair& row) {
#if defined(TROUPE_DELTA_AVX512)
  if (has_wide_vectors()) return detail::count_changed_avx512(row.before, row.after, row.count);
#endif
  return {0, 0};
}

vector_part list_with_vectors([[maybe_unused]] const row_pair& row,
                              [[maybe_unused]] std::uint32_t first,
                              [[maybe_unused]] const change_slots<std::uint32_t>& out) {
#if defined(TROUPE_DELTA_AVX512)
  if (has_wide_vectors())
    return detail::changed32_avx512(row.before, row.after, row.count, first, out.places, out.before,
                                    out.after);
#endif
  return {0, 0};
}

vector_part list_with_vectors([[maybe_unused]] const row_pair& row,
                              [[maybe_unused]] std::uint64_t first,
                              [[maybe_unused]] const change_slots<std::uint64_t>& out) {
#if defined(TROUPE_DELTA_AVX512)
  if (has_wide_vectors())
    return detail::changed64_avx512(row.before, row.after, row.count, first, out.places, out.before,
                                    out.after);
#endif
  return {0, 0};
}

/// Every element is written and only the changed ones kept: a branch for each would be guessed
/// wrong too often.
template <class Place>
std::size_t list_changed(const row_pair& row, Place first, const change_slots<Place>& out) {
  auto [i, held] = list_with_vectors(row, first, out);
  for (; i < row.count; ++i) {
    out.places[held] = static_cast<Place>(first + i);
    out.before[held] = row.before[i];
    out.after[held] = row.after[i];
    held += row.before[i] != row.after[i] ? 1 : 0;
  }
  return held;
}

}  // namespace

std::size_t count_changed(const row_pair& row) {
  auto [i, changed] = count_with_vectors(row);
  for (; i < row.count; ++i)
    changed += row.before[i] != row.after[i] ? 1 : 0;
  return changed;
}

std::size_t changed_of_row(const row_pair& row, std::uint32_t first,
                           const change_slots<std::uint32_t>& out) {
  return list_changed(row, first, out);
}

std::size_t changed_of_row(const row_pair& row, std::uint64_t first,
                           const change_slots<std::uint64_t>& out) {
  return list_changed(row, first, out);
}

void zigzag_row(const row_pair& row, std::uint8_t limit, std::uint8_t* out) {
  std::size_t i = 0;
#if defined(TROUPE_DELTA_AVX512)
  if (has_wide_vectors()) i = detail::zigzag_avx512(row.before, row.after, row.count, limit, out);
#endif
  for (; i < row.count; ++i) {
    const std::uint32_t zigzag = zigzag_of(row.before[i], row.after[i]);
    out[i] = static_cast<std::uint8_t>(std::min<std::uint32_t>(zigzag, limit));
  }
}

bool move_row(const std::uint16_t* before, const std::uint8_t* zigzag, std::size_t count,
              std::uint16_t* after) {
  std::size_t i = 0;
  std::uint32_t beyond = 0;
#if defined(TROUPE_DELTA_AVX512)
  if (has_wide_vectors()) i = detail::move_avx512(before, zigzag, count, after, &beyond);
#endif
  for (; i < count; ++i) {
    const std::uint32_t to = moved_ordinal(before[i], zigzag[i]);
    beyond |= to;
    after[i] = from_ordinal(static_cast<std::uint16_t>(to));
  }
  return beyond <= 0xffff;
}

}  // namespace troupe::storage
