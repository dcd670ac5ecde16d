#pragma once

// Takes the changes of one chunk as a codec reads them, into room that the chunk's header
// announced, so that the inner loop neither allocates nor believes the payload.
//
// Threading: one thread at a time. Invariants: SINK-1 no more changes than announced, each one a
// real change; `finish()` says that none is missing.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "storage/delta_chunk.hpp"
#include "storage/delta_rows.hpp"

namespace troupe::storage {

/// What every codec says of a payload that is not one of its own.
[[nodiscard]] inline tl::unexpected<error> damaged_chunk(const char* what) {
  return fail(errc::corrupt, std::string("a delta chunk ") + what,
              "the file is damaged or was not written as a delta",
              "sync from the base checkpoint again");
}

/// Changes of one block, until those of the blocks before it are known.
struct block_changes {
  std::size_t count = 0;
  std::array<std::uint16_t, delta_block_elements> places;
  std::array<std::uint16_t, delta_block_elements> before;
  std::array<std::uint16_t, delta_block_elements> after;
};

class change_sink {
 public:
  change_sink(const chunk_form& form, decoded_changes& out)
      : out_(out), first_(form.first_element) {
    const std::size_t room = form.num_changed + row_slack;
    out.elements.resize(room);
    out.before.resize(room);
    out.after.resize(room);
    elements_ = out.elements.data();
    before_ = out.before.data();
    after_ = out.after.data();
    end_ = elements_ + form.num_changed;
  }

  /// False when the change is not one or was not announced.
  [[nodiscard]] bool put(std::size_t position, std::uint16_t before, std::uint16_t after) {
    if (elements_ == end_ || before == after) return false;
    *elements_++ = first_ + position;
    *before_++ = before;
    *after_++ = after;
    return true;
  }

  /// Takes the changes of one block, counted from its first element; each of them is one.
  [[nodiscard]] bool put_block(std::size_t position, const block_changes& block) {
    if (block.count > static_cast<std::size_t>(end_ - elements_)) return false;
    for (std::size_t i = 0; i < block.count; ++i)
      elements_[i] = first_ + position + block.places[i];
    std::copy_n(block.before.data(), block.count, before_);
    std::copy_n(block.after.data(), block.count, after_);
    elements_ += block.count;
    before_ += block.count;
    after_ += block.count;
    return true;
  }

  /// Takes those of a row of elements from `position` on that differ.
  [[nodiscard]] bool put_row(std::size_t position, const row_pair& row) {
    if (count_changed(row) > static_cast<std::size_t>(end_ - elements_)) return false;
    const std::size_t count = changed_of_row(row, first_ + position, {elements_, before_, after_});
    elements_ += count;
    before_ += count;
    after_ += count;
    return true;
  }

  /// False when fewer changes came than announced.
  [[nodiscard]] bool finish() {
    const bool is_full = elements_ == end_;
    const std::size_t count = out_.elements.size() - row_slack;
    out_.elements.resize(count);
    out_.before.resize(count);
    out_.after.resize(count);
    return is_full;
  }

 private:
  decoded_changes& out_;
  std::uint64_t first_;
  std::uint64_t* elements_;
  std::uint64_t* end_;
  std::uint16_t* before_;
  std::uint16_t* after_;
};

}  // namespace troupe::storage
