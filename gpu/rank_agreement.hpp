#pragma once

// A batch is one request to its user, though each rank sees a part of it. So what one rank refuses
// all refuse, and with that rank's words: whoever hears of it first can say what is wrong.
//
// Threading: as comm. Errors: what comm reports, or the refusal.
// Invariants: AGREE-1 all ranks return the same error: that of the lowest rank that refused.

#include "gpu/comm.hpp"

namespace troupe::gpu {

/// All ranks call it alike. It costs one small sum, and a second one when a rank refuses.
[[nodiscard]] result<void> agree(comm& ranks, result<void> mine);

}  // namespace troupe::gpu
