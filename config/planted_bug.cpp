#include "config/planted_bug.hpp"

#include <array>
#include <atomic>
#include <cstdlib>

namespace troupe::config {
namespace {

constexpr std::array bugs{
    bug::no_sync,
    bug::answer_before_commit,
    bug::no_dedupe,
    bug::dedupe_ignores_body,
    bug::gap_ignored,
    bug::epoch_ignored,
    bug::incarnation_ignored,
    bug::incarnation_not_durable,
    bug::replay_skips_last,
    bug::replay_from_newer,
    bug::replay_twice,
    bug::mismatch_ignored,
    bug::trim_before_verified,
    bug::trim_too_far,
    bug::rollback_unacknowledged,
    bug::poison_never_given_up,
    bug::suspect_not_durable,
    bug::snapshot_misnumbered,
    bug::sync_without_flip,
    bug::unverified_load,
    bug::lease_never_expires,
    bug::leaving_node_granted,
    bug::work_repeated,
    bug::lost_is_done,
    bug::answer_before_sync,
    bug::file_not_synced,
    bug::name_not_synced,
    bug::damaged_log_skipped,
    bug::step_before_copied,
};

constexpr std::array<std::string_view, 30> names{
    "none",
    "no_sync",
    "answer_before_commit",
    "no_dedupe",
    "dedupe_ignores_body",
    "gap_ignored",
    "epoch_ignored",
    "incarnation_ignored",
    "incarnation_not_durable",
    "replay_skips_last",
    "replay_from_newer",
    "replay_twice",
    "mismatch_ignored",
    "trim_before_verified",
    "trim_too_far",
    "rollback_unacknowledged",
    "poison_never_given_up",
    "suspect_not_durable",
    "snapshot_misnumbered",
    "sync_without_flip",
    "unverified_load",
    "lease_never_expires",
    "leaving_node_granted",
    "work_repeated",
    "lost_is_done",
    "answer_before_sync",
    "file_not_synced",
    "name_not_synced",
    "damaged_log_skipped",
    "step_before_copied",
};

}  // namespace

std::span<const bug> all_bugs() {
  return bugs;
}

std::string_view to_string(bug which) {
  return names.at(static_cast<std::size_t>(which));
}

#ifdef TROUPE_FAILPOINTS

namespace {

bug from_environment() {
  const char* wanted = std::getenv("TROUPE_PLANT");
  for (const bug each : bugs) {
    if (wanted != nullptr && to_string(each) == wanted) return each;
  }
  return bug::none;
}

std::atomic<bug> planted = from_environment();

}  // namespace

void plant(bug which) {
  planted = which;
}

bool is_planted(bug which) {
  return planted.load(std::memory_order_relaxed) == which;
}

#else

void plant(bug) {}

bool is_planted(bug) {
  return false;
}

#endif

}  // namespace troupe::config
