#pragma once

// What the demo measured, as a file for programs and a page for people.
//
// Threading: values and pure functions; write_report touches the disk.

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "messages/error.hpp"

namespace troupe::apps {

struct demo_report {
  std::uint64_t seed = 0;
  double accuracy_before = 0;
  double accuracy_after_sft = 0;
  double accuracy_after_rl = 0;
  std::uint64_t base_bytes = 0;
  std::uint64_t delta_bytes = 0;  ///< mean over the deltas
  std::uint64_t num_deltas = 0;
  double sync_pause_ms = 0;  ///< longest
  double sync_total_ms = 0;  ///< mean
  bool recovered = false;
  bool bit_exact = false;  ///< every replayed result was the journalled one
  double recovery_s = 0;
  std::uint64_t ops_replayed = 0;
  std::string weights_digest;
  double wall_s = 0;
  std::vector<double> losses;   ///< by SFT step
  std::vector<double> rewards;  ///< by GRPO step
};

[[nodiscard]] boost::json::object to_object(const demo_report& report);

[[nodiscard]] std::string to_html(const demo_report& report);

/// report.json and report.html in `folder`.
[[nodiscard]] result<void> write_report(const demo_report& report, const std::string& folder);

}  // namespace troupe::apps
