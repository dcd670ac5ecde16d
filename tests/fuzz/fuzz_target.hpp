#pragma once

// What one fuzz target consists of. libFuzzer drives it when the build has TROUPE_FUZZ (clang);
// every other build replays the seeds and a fixed set of mutations of them as a normal test.
//
// Threading: one thread. Invariants: an input that breaks a promise aborts the process.

#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace troupe::fuzz {

using input = std::vector<std::uint8_t>;

/// Valid inputs to start from, made by the code under test.
[[nodiscard]] std::vector<input> seed_inputs();

}  // namespace troupe::fuzz
