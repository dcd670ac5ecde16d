#pragma once

// Named places where a test can end or stop this process at exactly the moment it wants, so that
// every phase of an op, a snapshot or a start is killed on purpose and not by luck. Without
// TROUPE_FAILPOINTS (builds for use) `failpoint` is an empty function.
//
// The environment arms them: TROUPE_FAILPOINT="NODE:ACTION@PHASE#HIT,..." with ACTION one of crash
// (SIGKILL) and stop (SIGSTOP), and HIT the number of times the phase is reached; "=OP" instead of
// "#HIT" names an op's number, and every process that reaches the phase with it is hit. A "#HIT"
// fires once per TROUPE_FAILPOINT_FOLDER, in which it leaves a file named after itself: a process
// that is started again does not meet it again, and the test sees that it was met.
//
// Phases: docs/reliability.md. Threading: any thread, after arm_failpoints.

#include <cstdint>
#include <string_view>

namespace troupe::config {

/// Reads the environment; once, before threads start. `node` selects what is for this process.
void arm_failpoints(std::string_view node);

/// `number` is that of an op, where there is one.
void failpoint(std::string_view phase, std::uint64_t number = 0);

}  // namespace troupe::config
