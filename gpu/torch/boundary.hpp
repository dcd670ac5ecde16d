#pragma once

// The one place where exceptions of the maths library become errors.
//
// Threading: runs its body on the calling thread. Errors: errc::engine with the library's words.

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "messages/error.hpp"

namespace troupe::gpu {

[[nodiscard]] inline error engine_failure(const std::string& doing, const std::string& message) {
  // libtorch appends a stack trace after the first line.
  return {errc::engine,
          "the maths library failed in " + doing + ": " + message.substr(0, message.find('\n')),
          "a damaged installation or a bug",
          "the engine is started again; report it if it repeats"};
}

/// body()'s result, or its exception as an error. `doing` names the work for people.
template <class Body>
auto guarded(const char* doing, Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const std::bad_alloc&) {
    return fail(errc::engine, std::string("memory ran out in ") + doing,
                "the batch or the model is too large for this machine",
                "send smaller batches or use more ranks");
  } catch (const std::exception& e) {
    return fail(engine_failure(doing, e.what()));
  }
}

}  // namespace troupe::gpu
