#pragma once

// Takes the changes of one chunk as a codec reads them, into room that the chunk's header
// announced, so that the inner loop neither allocates nor believes the payload.
//
// Threading: one thread at a time. Invariants: SINK-1 no more changes than announced, each one a
// real change; `is_full()` at the end says that none is missing.

#include <cstddef>
#include <cstdint>
#include <string>

#include "storage/delta_chunk.hpp"

namespace troupe::storage {

/// What every codec says of a payload that is not one of its own.
[[nodiscard]] inline tl::unexpected<error> damaged_chunk(const char* what) {
  return fail(errc::corrupt, std::string("a delta chunk ") + what,
              "the file is damaged or was not written as a delta",
              "sync from the base checkpoint again");
}

class change_sink {
 public:
  change_sink(const chunk_form& form, decoded_changes& out) : first_(form.first_element) {
    out.elements.resize(form.num_changed);
    out.before.resize(form.num_changed);
    out.after.resize(form.num_changed);
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

  [[nodiscard]] bool is_full() const { return elements_ == end_; }

 private:
  std::uint64_t first_;
  std::uint64_t* elements_;
  std::uint64_t* end_;
  std::uint16_t* before_;
  std::uint16_t* after_;
};

}  // namespace troupe::storage
