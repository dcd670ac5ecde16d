#include "storage/garbage_collector.hpp"

#include <algorithm>
#include <utility>

#include "storage/journal_record.hpp"
#include "storage/keys.hpp"

namespace troupe::storage {

namespace {

constexpr std::string_view dying_name = "dying";
constexpr std::string_view held_name = "held";
constexpr std::string_view pins_name = "loaded-by";
constexpr std::string_view index_mark = "files-indexed";

using manifest_map = std::map<std::string, checkpoint_manifest>;

bool is_sampler(checkpoint_kind kind) {
  return kind == checkpoint_kind::sampler_base || kind == checkpoint_kind::sampler_delta;
}

std::uint64_t in_ms(std::chrono::milliseconds time) {
  return static_cast<std::uint64_t>(time.count());
}

manifest_map by_id(const std::vector<checkpoint_record>& records) {
  manifest_map out;
  for (const checkpoint_record& record : records)
    out[record.id.value] = record.manifest;
  return out;
}

/// When a file was found to be unneeded, and when it may go.
struct dying_file {
  blob_id blob;
  std::uint64_t since_ms = 0;
  std::uint64_t due_ms = 0;
};

put_entry dying_entry(const blob_id& blob, std::uint64_t since_ms, std::uint64_t due_ms) {
  return {column::leases, ended(dying_name) + blob.value,
          big_endian(since_ms) + big_endian(due_ms)};
}

result<std::vector<dying_file>> read_dying(key_value_store& values) {
  std::vector<dying_file> out;
  const std::size_t prefix = ended(dying_name).size();
  const auto scanned =
      values.scan(column::leases, ended(dying_name), behind(dying_name),
                  [&](std::string_view key, std::string_view value) {
                    if (value.size() == 16)
                      out.push_back({blob_id{std::string(key.substr(prefix))},
                                     from_big_endian(value), from_big_endian(value.substr(8))});
                    return true;
                  });
  if (!scanned) return fail(scanned.error());
  return out;
}

/// Of each run the two snapshots that were made from the latest ops.
void keep_newest_snapshots(const manifest_map& known, std::set<std::string>& out) {
  std::map<std::string, std::vector<std::pair<std::uint64_t, std::string>>> by_run;
  for (const auto& [id, manifest] : known) {
    if (manifest.kind == checkpoint_kind::snapshot)
      by_run[manifest.run.value].emplace_back(manifest.seq_id, id);
  }
  for (auto& [run, snapshots] : by_run) {
    std::ranges::sort(snapshots, std::greater{});
    for (std::size_t i = 0; i < std::min<std::size_t>(2, snapshots.size()); ++i)
      out.insert(snapshots[i].second);
  }
}

/// A delta is nothing without what it was made from.
void keep_chains(const manifest_map& known, std::set<std::string>& out) {
  std::vector<std::string> open(out.begin(), out.end());
  while (!open.empty()) {
    const auto found = known.find(open.back());
    open.pop_back();
    if (found == known.end() || found->second.kind != checkpoint_kind::sampler_delta) continue;
    const std::string& parent = found->second.parent.value;
    if (out.insert(parent).second) open.push_back(parent);
  }
  for (const auto& [id, manifest] : known) {
    if (!manifest.folds.empty() && out.contains(manifest.folds.value)) out.insert(id);
  }
}

}  // namespace

garbage_collector::garbage_collector(key_value_store& values, blob_store& blobs,
                                     const garbage_rules& rules)
    : values_(values), blobs_(blobs), rules_(rules), checkpoints_(values, blobs), runs_(values) {}

void garbage_collector::lease(const std::vector<checkpoint_record>& chain, std::uint64_t now_ms) {
  std::erase_if(leases_, [now_ms](const auto& lease) { return lease.second < now_ms; });
  for (const checkpoint_record& record : chain)
    leases_[record.id.value] = now_ms + in_ms(rules_.lease);
}

result<void> garbage_collector::hold(const std::vector<checkpoint_id>& checkpoints,
                                     std::uint64_t now_ms) {
  write_batch batch;
  for (const checkpoint_id& checkpoint : checkpoints)
    batch.puts.push_back({column::leases, ended(held_name) + checkpoint.value,
                          big_endian(now_ms + in_ms(rules_.lease))});
  return batch.puts.empty() ? result<void>{} : values_.write(batch);
}

/// Holds that ended are erased on the way.
result<void> garbage_collector::add_held(std::uint64_t now_ms, id_set& out) {
  const std::size_t prefix = ended(held_name).size();
  write_batch ended_holds;
  const auto scanned =
      values_.scan(column::leases, ended(held_name), behind(held_name),
                   [&](std::string_view key, std::string_view value) {
                     if (value.size() == 8 && from_big_endian(value) >= now_ms) {
                       out.insert(std::string(key.substr(prefix)));
                     } else {
                       ended_holds.erases.push_back({column::leases, std::string(key)});
                     }
                     return true;
                   });
  if (!scanned || ended_holds.erases.empty()) return scanned;
  return values_.write(ended_holds);
}

result<void> garbage_collector::pin(const checkpoint_id& checkpoint, const run_id& run,
                                    std::uint64_t seq_id) {
  const std::string key = ended(pins_name) + ended(checkpoint.value) + run.value;
  return values_.write({{{column::refs, key, big_endian(seq_id)}}, {}});
}

result<void> garbage_collector::add_runs(const manifest_map& known, id_set& out) {
  const auto runs = runs_.list();
  if (!runs) return fail(runs.error());
  for (const run_record& run : *runs) {
    out.insert(run.published.value);
    out.insert(run.snapshot.value);
    const auto snapshot = known.find(run.snapshot.value);
    if (snapshot != known.end()) out.insert(snapshot->second.parent.value);
  }
  return add_pins(known, *runs, out);
}

/// A load is repeated as long as a run may go back behind it: to the snapshot before its newest.
result<void> garbage_collector::add_pins(const manifest_map& known,
                                         const std::vector<run_record>& runs, id_set& out) {
  std::map<std::string, std::uint64_t> covered;
  for (const run_record& run : runs) {
    covered[run.run.value] = 0;
    const auto newest = known.find(run.snapshot.value);
    if (newest == known.end()) continue;
    const auto older = known.find(newest->second.parent.value);
    if (older != known.end()) covered[run.run.value] = older->second.seq_id;
  }
  const std::size_t prefix = ended(pins_name).size();
  const auto scanned =
      values_.scan(column::refs, ended(pins_name), behind(pins_name),
                   [&](std::string_view key, std::string_view value) {
                     const std::string_view rest = key.substr(prefix);
                     const std::size_t end = rest.find('\0');
                     if (end == std::string_view::npos || value.size() != 8) return true;
                     const auto run = covered.find(std::string(rest.substr(end + 1)));
                     if (run != covered.end() && from_big_endian(value) > run->second)
                       out.insert(std::string(rest.substr(0, end)));
                     return true;
                   });
  return scanned;
}

result<garbage_collector::id_set> garbage_collector::in_use(const manifest_map& known,
                                                            std::uint64_t now_ms) {
  id_set out;
  for (const auto& [id, until_ms] : leases_) {
    if (until_ms >= now_ms) out.insert(id);
  }
  if (auto ok = add_held(now_ms, out); !ok) return fail(ok.error());
  if (auto ok = add_runs(known, out); !ok) return fail(ok.error());
  const auto deployments = runs_.list_deployments();
  if (!deployments) return fail(deployments.error());
  for (const deployment_record& deployment : *deployments)
    out.insert(deployment.checkpoint.value);
  keep_newest_snapshots(known, out);
  return out;
}

result<garbage_collector::found_garbage> garbage_collector::find_garbage(
    std::uint64_t now_ms, std::uint64_t sampler_age_ms) {
  if (auto ok = index_files(); !ok) return fail(ok.error());
  auto all = checkpoints_.list({});
  if (!all) return fail(all.error());
  const manifest_map known = by_id(*all);
  auto kept = in_use(known, now_ms);
  if (!kept) return fail(kept.error());
  for (const auto& [id, manifest] : known) {
    const bool is_young = manifest.created_unix_ms + sampler_age_ms > now_ms;
    const bool is_wanted = !manifest.name.empty() || is_young;
    const bool is_users = manifest.kind == checkpoint_kind::training;
    if (is_users || (is_sampler(manifest.kind) && is_wanted)) kept->insert(id);
  }
  keep_chains(known, *kept);
  found_garbage out;
  for (checkpoint_record& record : *all) {
    if (!kept->contains(record.id.value)) out.checkpoints.push_back(std::move(record));
  }
  out.num_kept = all->size() - out.checkpoints.size();
  return out;
}

result<void> garbage_collector::forget(const std::vector<checkpoint_record>& garbage,
                                       std::uint64_t now_ms) {
  for (const checkpoint_record& record : garbage) {
    const bool is_snapshot = record.manifest.kind == checkpoint_kind::snapshot;
    const std::uint64_t due_ms = now_ms + in_ms(is_snapshot ? rules_.superseded : rules_.files);
    write_batch batch = forgetting(record);
    for (const checkpoint_file& file : record.manifest.files)
      batch.puts.push_back(dying_entry(file.blob, now_ms, due_ms));
    if (auto written = values_.write(batch); !written) return written;
  }
  return {};
}

result<bool> garbage_collector::is_referenced(const blob_id& blob) {
  bool referenced = false;
  for (const std::string& name : {file_refs_name(blob), payload_refs_name(blob)}) {
    const auto scanned = values_.scan(column::refs, ended(name), behind(name), [&](auto, auto) {
      referenced = true;
      return false;
    });
    if (!scanned) return fail(scanned.error());
  }
  return referenced;
}

result<void> garbage_collector::sweep(std::uint64_t now_ms, garbage_report& report) {
  const auto dying = read_dying(values_);
  if (!dying) return fail(dying.error());
  write_batch batch;
  for (const dying_file& file : *dying) {
    const auto known = blobs_.info(file.blob);
    if (!known && known.error().code != errc::not_found) return fail(known.error());
    const std::uint64_t bytes = known ? known->bytes : 0;
    if (file.due_ms > now_ms) {
      ++report.dying_files;
      report.dying_bytes += bytes;
      continue;
    }
    const auto referenced = is_referenced(file.blob);
    if (!referenced) return fail(referenced.error());
    // Written again since: its record may be on its way.
    if (!*referenced && known && known->written_unix_ms > file.since_ms) {
      batch.puts.push_back(dying_entry(file.blob, known->written_unix_ms,
                                       known->written_unix_ms + in_ms(rules_.files)));
      continue;
    }
    if (!*referenced && known) {
      if (auto removed = blobs_.remove(file.blob); !removed) return removed;
      ++report.removed_files;
      report.removed_bytes += bytes;
    }
    batch.erases.push_back({column::leases, ended(dying_name) + file.blob.value});
  }
  if (batch.puts.empty() && batch.erases.empty()) return {};
  return values_.write(batch);
}

result<void> garbage_collector::mark_orphans(std::uint64_t now_ms) {
  const auto all = blobs_.list();
  if (!all) return fail(all.error());
  const auto dying = read_dying(values_);
  if (!dying) return fail(dying.error());
  id_set marked;
  for (const dying_file& file : *dying)
    marked.insert(file.blob.value);
  write_batch batch;
  for (const blob_info& file : *all) {
    const bool is_young = file.written_unix_ms + in_ms(rules_.files) > now_ms;
    if (is_young || marked.contains(file.blob.value)) continue;
    const auto referenced = is_referenced(file.blob);
    if (!referenced) return fail(referenced.error());
    if (!*referenced) batch.puts.push_back(dying_entry(file.blob, now_ms, now_ms));
  }
  if (batch.puts.empty()) return {};
  return values_.write(batch);
}

result<garbage_report> garbage_collector::collect(const collect_garbage_request& request,
                                                  std::uint64_t now_ms) {
  const auto garbage = find_garbage(now_ms, request.sampler_age_s * 1000);
  if (!garbage) return fail(garbage.error());
  garbage_report report;
  report.kept_checkpoints = garbage->num_kept;
  for (const auto& [id, m] : garbage->checkpoints)
    report.checkpoints.push_back({id, m.run, m.kind, m.step, total_bytes(m)});
  if (request.dry_run) return report;
  if (auto ok = forget(garbage->checkpoints, now_ms); !ok) return fail(ok.error());
  if (auto ok = mark_orphans(now_ms); !ok) return fail(ok.error());
  if (auto ok = sweep(now_ms, report); !ok) return fail(ok.error());
  return report;
}

result<void> garbage_collector::collect_by_itself(std::uint64_t now_ms) {
  const auto garbage = find_garbage(now_ms, in_ms(rules_.samplers));
  if (!garbage) return fail(garbage.error());
  if (auto ok = forget(garbage->checkpoints, now_ms); !ok) return ok;
  garbage_report unread;
  return sweep(now_ms, unread);
}

result<void> garbage_collector::remove(const checkpoint_id& checkpoint, std::uint64_t now_ms) {
  if (auto ok = index_files(); !ok) return ok;
  auto record = checkpoints_.get(checkpoint.value);
  if (!record) return fail(record.error());
  const auto all = checkpoints_.list({});
  if (!all) return fail(all.error());
  const manifest_map known = by_id(*all);
  auto kept = in_use(known, now_ms);
  if (!kept) return fail(kept.error());
  for (const auto& [id, manifest] : known) {
    if (id != record->id.value) kept->insert(id);
  }
  keep_chains(known, *kept);
  if (kept->contains(record->id.value))
    return fail(errc::in_use, "checkpoint " + record->id.value + " is needed",
                "a run resumes from it, a deployment serves it, a later delta builds on it, or "
                "somebody is reading it",
                "remove what needs it first, or try again in some minutes");
  return forget({std::move(*record)}, now_ms);
}

result<void> garbage_collector::index_files() {
  const auto mark = values_.get(column::meta, index_mark);
  if (!mark) return fail(mark.error());
  if (mark->has_value()) return {};
  const auto all = checkpoints_.list({});
  if (!all) return fail(all.error());
  write_batch batch;
  for (const checkpoint_record& record : *all) {
    for (const checkpoint_file& file : record.manifest.files)
      batch.puts.push_back(file_ref(file.blob, record.id));
  }
  batch.puts.push_back({column::meta, std::string(index_mark), "1"});
  return values_.write(batch);
}

}  // namespace troupe::storage
