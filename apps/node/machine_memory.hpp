#pragma once

// How much memory activations of a batch may take in a process. A batch that does not fit must be
// refused before it starts: the system's answer to too much memory is to kill, and a replay of the
// same batch would be killed again. The bound comes from what the machine has, not from what is
// free at the moment, so that a batch that was accepted once is accepted in its replay.
//
// Units: bytes. Threading: any.

#include <cstdint>
#include <optional>
#include <string>

namespace troupe::node {

/// Of this machine, or of the container that limits this process if that is less; 0: unknown.
[[nodiscard]] std::uint64_t machine_memory_bytes();

/// What a limit file of cgroup v2 says; nothing for "max" and for what is no number.
[[nodiscard]] std::optional<std::uint64_t> parse_memory_limit(const std::string& text);

/// For each of `num_processes` of a role: half of its share, for the rest is state and what else
/// runs; at most what batches may ever take, and enough for a small one. 0 bytes: no bound known.
[[nodiscard]] std::size_t batch_budget(std::uint64_t machine_bytes, std::uint32_t num_processes);

}  // namespace troupe::node
