#pragma once

// What is wrong with a message, found while it is read or written. The first finding wins and stops
// the reading of lists; the functions that convert fields stay free of error plumbing because they
// may go on with a harmless value.
//
// Threading: one object per message, one thread.
// Errors: errc::protocol where the bytes are no such message, errc::not_finite for NaN or infinite
// training data, errc::invalid_argument for every other broken bound.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "messages/error.hpp"

namespace troupe::wire::detail {

class checks {
 public:
  [[nodiscard]] bool ok() const { return first_.code == errc::none; }
  [[nodiscard]] error take() { return std::move(first_); }

  void refuse(errc code, std::string_view field, std::string_view problem, std::string action);

  /// Refuses unless `holds`; `rule` completes "<field> must ...".
  void require(bool holds, std::string_view field, std::string_view rule);

  /// Refuses a list or text of more than `limit` elements, and says so before it is allocated.
  [[nodiscard]] bool at_most(std::size_t count, std::size_t limit, std::string_view field);

  /// Says in which element of which list the finding is.
  void locate(std::string_view list, std::size_t index);

 private:
  error first_;
};

/// For a union whose variant is `unset` or unknown.
void refuse_variant(std::string_view field, checks& check);

}  // namespace troupe::wire::detail
