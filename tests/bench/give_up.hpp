#pragma once

// A benchmark that cannot measure says why and ends: half a table would be taken for a whole one.
//
// Threading: plain functions.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "messages/error.hpp"

namespace troupe::bench {

[[noreturn]] inline void give_up(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

template <class T>
T need(result<T> value) {
  if (!value) give_up(to_string(value.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*value);
}

}  // namespace troupe::bench
