#include "storage/garbage_marks.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>
#include <utility>

namespace troupe::storage {

namespace {

using summaries = checkpoint_index::summaries;

}  // namespace

bool is_sampler(checkpoint_kind kind) {
  return kind == checkpoint_kind::sampler_base || kind == checkpoint_kind::sampler_delta ||
         kind == checkpoint_kind::sampler_adapter;
}

void keep_newest_snapshots(const summaries& known, id_set& out) {
  std::map<std::string, std::vector<std::pair<std::uint64_t, std::string>>> by_run;
  for (const auto& [id, summary] : known) {
    if (summary.kind == checkpoint_kind::snapshot)
      by_run[summary.run.value].emplace_back(summary.seq_id, id);
  }
  for (auto& [run, snapshots] : by_run) {
    std::ranges::sort(snapshots, std::greater{});
    for (std::size_t i = 0; i < std::min<std::size_t>(2, snapshots.size()); ++i)
      out.insert(snapshots[i].second);
  }
}

void keep_chains(const summaries& known, id_set& kept) {
  std::vector<std::string> open(kept.begin(), kept.end());
  while (!open.empty()) {
    const auto found = known.find(open.back());
    open.pop_back();
    if (found == known.end() || found->second.kind != checkpoint_kind::sampler_delta) continue;
    const std::string& parent = found->second.parent;
    if (kept.insert(parent).second) open.push_back(parent);
  }
  for (const auto& [id, summary] : known) {
    if (!summary.folds.empty() && kept.contains(summary.folds)) kept.insert(id);
  }
}

std::vector<std::string> unneeded(const summaries& known, id_set used, std::uint64_t sampler_age_ms,
                                  std::uint64_t now_ms) {
  keep_newest_snapshots(known, used);
  for (const auto& [id, summary] : known) {
    const bool is_young = summary.created_unix_ms + sampler_age_ms > now_ms;
    // A folded delta is as needed as what it folds.
    const bool is_wanted = (summary.has_name || is_young) && summary.folds.empty();
    const bool is_users = summary.kind == checkpoint_kind::training;
    if (is_users || (is_sampler(summary.kind) && is_wanted)) used.insert(id);
  }
  keep_chains(known, used);
  std::vector<std::string> out;
  for (const auto& [id, summary] : known) {
    if (!used.contains(id)) out.push_back(id);
  }
  std::ranges::sort(out, std::greater{}, [&known](const std::string& id) {
    const checkpoint_summary& summary = known.at(id);
    return std::tuple(summary.run.value, summary.seq_id, !summary.folds.empty(), id);
  });
  return out;
}

}  // namespace troupe::storage
