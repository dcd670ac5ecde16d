#pragma once

// The engine's side of engine_bench: how long steps of one process take, and its memory.
//
// Units: seconds, bytes. Threading: of main alone, once for each process, whose peak of memory it
// reports. Errors: what cannot be measured ends the program.

#include <cstdint>

#include <boost/json.hpp>

#include "tests/bench/engine_work.hpp"

namespace troupe::bench {

/// The process's peak of memory so far.
[[nodiscard]] double peak_bytes();

/// The best of `steps` of each kind after one that is not counted, the process's memory above
/// `idle_bytes`, and under "told" what the first steps computed.
[[nodiscard]] boost::json::object measure_trainings(work_files& work, std::uint32_t threads,
                                                    std::uint32_t steps, double idle_bytes);

}  // namespace troupe::bench
