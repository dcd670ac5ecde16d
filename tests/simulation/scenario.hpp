#pragma once

// One simulated cluster under one seed's faults, and the oracle that looks at what is left. A
// client asks a workload op by op; at random moments something breaks; then everything heals and
// the run must end where a calm one ends.
//
// What is checked (numbers as in docs/reliability.md): I1 acknowledged checkpoints are there and
// whole. I2 each op committed once, with the answer the client got. I3 every answer equals the calm
// run's, bit for bit. I4 the log has no hole. I5 every checkpoint's parent exists. I7 what was
// replaced changes nothing. I9 every request is answered in time. I10 after the faults the run
// reaches its end.
//
// Threading: one thread. Equal options give equal verdicts, message by message.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::tests {

enum class fault : std::uint8_t {
  kill,        ///< a trainer node dies
  kill_two,    ///< two of them at once
  control,     ///< the control node dies and starts again
  notice,      ///< a trainer node is asked to leave
  pause,       ///< a trainer node stops, is replaced, and goes on later as a zombie
  duplicate,   ///< an op is sent several times
  reorder,     ///< an op overtakes the one before it
  liar,        ///< an op's number comes again with another body
  old_client,  ///< a replaced client still sends
  park,        ///< the run gives its nodes back
  full_disk,   ///< writes end half done until the control node starts again
  io_error,    ///< a write or a sync fails once
  damage,      ///< the newest snapshot reads differently
  slow_link,   ///< mail between nodes takes its time
  lost_mail,   ///< some of it never arrives
  twice_mail,  ///< some of it arrives twice
  mixed_mail,  ///< later mail overtakes earlier
  partition,   ///< a trainer node is cut off for a while
  one_way,     ///< the same in one direction
  power_loss,  ///< the control node's machine: what was not synced is gone
  torn_write,  ///< the same in the middle of a write
  reset_link,  ///< a trainer node's connection breaks and is made anew
};

[[nodiscard]] std::string_view to_string(fault which);
[[nodiscard]] const std::set<fault>& all_faults();
/// "all", or names separated by commas.
[[nodiscard]] result<std::set<fault>> parse_faults(const std::string& text);

struct scenario {
  std::uint64_t seed = 1;
  std::string workload = "mixed";
  std::set<fault> faults = all_faults();
  std::uint32_t num_faults = 6;
};

struct verdict {
  std::vector<std::string> broken;  ///< invariants, with what was seen; empty: all hold
  std::uint64_t trace = 0;
  std::uint64_t num_messages = 0;
  std::uint64_t num_faults = 0;
  std::uint64_t num_recoveries = 0;
  double simulated_s = 0;
};

/// Answers of an undisturbed run, op by op.
[[nodiscard]] result<std::vector<op_reply>> calm_answers(const std::string& workload);

[[nodiscard]] verdict run_scenario(const scenario& wanted, const std::vector<op_reply>& calm);

}  // namespace troupe::tests
