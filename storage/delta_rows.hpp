#pragma once

// The loops of the delta codecs that go over every element: which elements of a row differ, and by
// how far they moved. They run on the widest vectors of the processor; what they answer does not
// depend on it.
//
// Units: elements, of rows of one length. Threading: pure functions on the caller's memory.

#include <cstddef>
#include <cstdint>

namespace troupe::storage {

/// Slots behind the last change that `changed_of_row` may write to.
inline constexpr std::size_t row_slack = 16;

/// A row in both states.
struct row_pair {
  const std::uint16_t* before = nullptr;
  const std::uint16_t* after = nullptr;
  std::size_t count = 0;
};

/// Where changes go; `Place` counts elements.
template <class Place>
struct change_slots {
  Place* places = nullptr;
  std::uint16_t* before = nullptr;
  std::uint16_t* after = nullptr;
};

[[nodiscard]] std::size_t count_changed(const row_pair& row);

/// Lists the elements that differ, counted from `first`; answers how many. Requires: room for them
/// and row_slack more.
std::size_t changed_of_row(const row_pair& row, std::uint32_t first,
                           const change_slots<std::uint32_t>& out);
std::size_t changed_of_row(const row_pair& row, std::uint64_t first,
                           const change_slots<std::uint64_t>& out);

/// Steps in the order 0, one up, one down, two up, ..., at most `limit` of them, into `out`.
void zigzag_row(const row_pair& row, std::uint8_t limit, std::uint8_t* out);

/// Moves each element by its zigzag number; false when one leaves the order of values.
[[nodiscard]] bool move_row(const std::uint16_t* before, const std::uint8_t* zigzag,
                            std::size_t count, std::uint16_t* after);

}  // namespace troupe::storage
