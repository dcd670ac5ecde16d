#pragma once

// Mistakes that a test can switch on, one at a time, to prove that the other tests would notice
// them: a test that no bug can fail proves nothing. Without TROUPE_FAILPOINTS (builds for use)
// `is_planted` is always false.
//
// TROUPE_PLANT names one in the environment, so that every test program can be run with it.
//
// Threading: plant before the system under test starts; is_planted from any thread.

#include <cstdint>
#include <span>
#include <string_view>

namespace troupe::config {

enum class bug : std::uint8_t {
  none = 0,
  no_sync,                  ///< what was "durable" is lost with the machine
  answer_before_commit,     ///< an op's answer leaves before its end is durable
  no_dedupe,                ///< a repeated op is applied again
  dedupe_ignores_body,      ///< a reused number gets the answer of another op
  gap_ignored,              ///< an op runs before the one in front of it
  epoch_ignored,            ///< a replaced client still writes
  incarnation_ignored,      ///< a shard works for a set that was replaced
  incarnation_not_durable,  ///< a restart hands an incarnation out again
  replay_skips_last,        ///< a recovery stops one op early
  replay_from_newer,        ///< a recovery starts behind its snapshot
  replay_twice,             ///< a recovery repeats an op it has repeated
  mismatch_ignored,         ///< a replay that differs goes on
  trim_before_verified,     ///< payloads go before the snapshot was read back
  trim_too_far,             ///< payloads since the older snapshot go as well
  rollback_unacknowledged,  ///< a rolled back run just goes on
  poison_never_given_up,    ///< an op that breaks its shards is repeated for ever
  suspect_not_durable,      ///< a restart starts the count of losses anew
  snapshot_misnumbered,     ///< a snapshot claims the op after the one it holds
  sync_without_flip,        ///< a sync is reported that no sampler serves
  unverified_load,          ///< a damaged file is loaded
  lease_never_expires,      ///< a silent node is waited for
  leaving_node_granted,     ///< a node that will go gets new work
  work_repeated,            ///< a piece of work that is delivered twice is done twice
  lost_is_done,             ///< work whose answer is lost counts as done
  answer_before_sync,       ///< the store answers before its write is durable
  file_not_synced,          ///< a blob gets its name before its bytes are durable
  name_not_synced,          ///< a blob is told of before its name is durable
  damaged_log_skipped,      ///< records behind a damaged one are taken, it is not
  step_before_copied,       ///< a step overwrites what a snapshot has not copied yet
};

/// All but none, for the test that walks through them.
[[nodiscard]] std::span<const bug> all_bugs();
[[nodiscard]] std::string_view to_string(bug which);

/// Does nothing in builds for use.
void plant(bug which);
[[nodiscard]] bool is_planted(bug which);

}  // namespace troupe::config
