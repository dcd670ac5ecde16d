#pragma once

// What happened to each run, kept beside its record, so that a person sees it after the control
// node was started again. Bounded: the oldest line makes room for the newest.
//
// Threading: one thread at a time. Errors: as the store; errc::corrupt for a line that does not
// decode.
// Invariants: EVENTS-1 lines of a run come back in order of their numbers.
// Format: docs/formats/records.md.

#include <cstdint>

#include "messages/training.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::storage {

/// What keeps one line; for a write that others may share.
[[nodiscard]] result<write_batch> keeping(const keep_event_request& request);

/// Lines behind `after_number`, the newest limits::run_events_max of them.
[[nodiscard]] result<run_events_reply> read_events(key_value_store& values,
                                                   const run_events_request& request);

}  // namespace troupe::storage
