#pragma once

// The one place where exceptions of the maths library become errors.
//
// Threading: runs its body on the calling thread. Errors: errc::engine with the library's words.

#include <exception>
#include <new>
#include <string>
#include <utility>

#include <c10/util/Exception.h>

#include "messages/error.hpp"

namespace troupe::gpu {

/// libtorch appends a stack trace after the first line.
[[nodiscard]] inline std::string first_line(const std::string& message) {
  return message.substr(0, message.find('\n'));
}

[[nodiscard]] inline error engine_failure(const std::string& doing, const std::string& message) {
  return {errc::engine, "the maths library failed in " + doing + ": " + first_line(message),
          "a damaged installation or a bug",
          "the engine is started again; report it if it repeats"};
}

[[nodiscard]] inline error device_full(const std::string& doing, const std::string& message) {
  return {errc::engine, "the memory of the GPU is full in " + doing + ": " + first_line(message),
          "weights, what passes keep for their backward, and whatever else runs on the GPU",
          "send smaller batches, lower slots under [trainers], use more ranks, or end other "
          "programs that nvidia-smi shows"};
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
  } catch (const c10::OutOfMemoryError& e) {
    return fail(device_full(doing, e.what()));
  } catch (const std::exception& e) {
    return fail(engine_failure(doing, e.what()));
  }
}

}  // namespace troupe::gpu
