#include "storage/garbage_collector.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "storage/journal_record.hpp"
#include "storage/keys.hpp"

namespace troupe::storage {

namespace {

constexpr std::string_view dying_name = "dying";
constexpr std::string_view held_name = "held";
constexpr std::string_view pins_name = "loaded-by";
constexpr std::string_view index_mark = "files-indexed";

// Slices: each is a synced write, and some look-ups of tens of microseconds.
constexpr std::size_t records_at_once = 32;
constexpr std::size_t files_at_once = 64;

std::uint64_t in_ms(std::chrono::milliseconds time) {
  return static_cast<std::uint64_t>(time.count());
}

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

}  // namespace

garbage_collector::garbage_collector(key_value_store& values, blob_store& blobs,
                                     const garbage_rules& rules)
    : values_(values),
      blobs_(blobs),
      rules_(rules),
      checkpoints_(values, blobs),
      index_(checkpoints_),
      runs_(values) {}

void garbage_collector::lease(const std::vector<checkpoint_record>& chain, std::uint64_t now_ms) {
  std::erase_if(leases_, [now_ms](const auto& lease) { return lease.second < now_ms; });
  for (const checkpoint_record& record : chain)
    leases_[record.id.value] = now_ms + in_ms(rules_.lease);
}

void garbage_collector::committed(const checkpoint_record& record) {
  if (is_sampler(record.manifest.kind) && record.manifest.folds.empty())
    unclaimed_[record.manifest.run] = record.id;
}

void garbage_collector::recorded(const run_record& run) {
  const auto found = unclaimed_.find(run.run);
  if (found != unclaimed_.end() && found->second == run.published) unclaimed_.erase(found);
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

result<void> garbage_collector::add_runs(id_set& out) {
  const auto runs = runs_.list();
  if (!runs) return fail(runs.error());
  for (const run_record& run : *runs) {
    out.insert(run.published.value);
    out.insert(run.snapshot.value);
    const auto snapshot = index_.all().find(run.snapshot.value);
    if (snapshot != index_.all().end()) out.insert(snapshot->second.parent);
  }
  return add_pins(*runs, out);
}

/// A load is repeated as long as a run may go back behind it: to the snapshot before its newest.
result<void> garbage_collector::add_pins(const std::vector<run_record>& runs, id_set& out) {
  const auto& known = index_.all();
  std::map<std::string, std::uint64_t> covered;
  for (const run_record& run : runs) {
    covered[run.run.value] = 0;
    const auto newest = known.find(run.snapshot.value);
    if (newest == known.end()) continue;
    const auto older = known.find(newest->second.parent);
    if (older != known.end()) covered[run.run.value] = older->second.seq_id;
  }
  const std::size_t prefix = ended(pins_name).size();
  return values_.scan(column::refs, ended(pins_name), behind(pins_name),
                      [&](std::string_view key, std::string_view value) {
                        const std::string_view rest = key.substr(prefix);
                        const std::size_t end = rest.find('\0');
                        if (end == std::string_view::npos || value.size() != 8) return true;
                        const auto run = covered.find(std::string(rest.substr(end + 1)));
                        if (run != covered.end() && from_big_endian(value) > run->second)
                          out.insert(std::string(rest.substr(0, end)));
                        return true;
                      });
}

result<id_set> garbage_collector::in_use(std::uint64_t now_ms) {
  id_set out;
  for (const auto& [id, until_ms] : leases_) {
    if (until_ms >= now_ms) out.insert(id);
  }
  for (const auto& [run, id] : unclaimed_)
    out.insert(id.value);
  if (auto ok = add_held(now_ms, out); !ok) return fail(ok.error());
  if (auto ok = add_runs(out); !ok) return fail(ok.error());
  const auto deployments = runs_.list_deployments();
  if (!deployments) return fail(deployments.error());
  for (const deployment_record& deployment : *deployments)
    out.insert(deployment.checkpoint.value);
  return out;
}

void garbage_collector::begin(const collect_garbage_request& request, garbage_scope scope) {
  collection begun;
  begun.request = request;
  begun.scope = scope;
  work_ = std::move(begun);
  config::failpoint("g1");
}

collect_garbage_request garbage_collector::by_itself() const {
  return {false, in_ms(rules_.samplers) / 1000};
}

result<std::optional<garbage_report>> garbage_collector::step(std::uint64_t now_ms) {
  if (!work_) return std::optional<garbage_report>(std::in_place);
  const auto ok = step_of(*work_, now_ms);
  std::optional<garbage_report> report;
  if (ok && work_->next == stage::done) report = std::move(work_->report);
  if (!ok || report) work_.reset();
  if (!ok) return fail(ok.error());
  return report;
}

result<void> garbage_collector::step_of(collection& work, std::uint64_t now_ms) {
  switch (work.next) {
    case stage::forget:
      return forget_some(work, now_ms);
    case stage::find_files:
      return find_files(work);
    case stage::mark_files:
      return mark_some(work, now_ms);
    case stage::sweep:
      return sweep_some(work, now_ms);
    case stage::done:
      break;
  }
  return {};
}

result<void> garbage_collector::forget_some(collection& work, std::uint64_t now_ms) {
  if (auto ok = index_files(); !ok) return ok;
  const auto unread = index_.refresh(records_at_once);
  if (!unread) return fail(unread.error());
  if (*unread > 0) return {};
  auto used = in_use(now_ms);
  if (!used) return fail(used.error());
  const auto& known = index_.all();
  auto garbage = unneeded(known, std::move(*used), work.request.sampler_age_s * 1000, now_ms);
  work.report.kept_checkpoints = known.size() - garbage.size();
  if (!work.request.dry_run) garbage.resize(std::min(garbage.size(), records_at_once));
  for (const std::string& id : garbage) {
    const checkpoint_summary& m = known.at(id);
    if (work.report.checkpoints.size() < limits::checkpoint_list_max)
      work.report.checkpoints.push_back({checkpoint_id{id}, m.run, m.kind, m.step, m.bytes});
  }
  if (work.request.dry_run) {
    work.next = stage::done;
    return {};
  }
  if (!garbage.empty()) return forget(garbage, now_ms);
  if (work.scope == garbage_scope::records) return begin_sweep(work);
  work.next = stage::find_files;
  return {};
}

/// One durable write for all of them.
result<void> garbage_collector::forget(const std::vector<std::string>& garbage,
                                       std::uint64_t now_ms) {
  write_batch batch;
  for (const std::string& id : garbage) {
    const auto record = checkpoints_.get(id);
    if (!record) return fail(record.error());
    const bool is_snapshot = record->manifest.kind == checkpoint_kind::snapshot;
    const std::uint64_t due_ms = now_ms + in_ms(is_snapshot ? rules_.superseded : rules_.files);
    write_batch one = forgetting(*record);
    std::ranges::move(one.puts, std::back_inserter(batch.puts));
    std::ranges::move(one.erases, std::back_inserter(batch.erases));
    for (const checkpoint_file& file : record->manifest.files)
      batch.puts.push_back(dying_entry(file.blob, now_ms, due_ms));
  }
  const auto written = values_.write(batch);
  config::failpoint("g2");
  return written;
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

result<void> garbage_collector::find_files(collection& work) {
  auto all = blobs_.list();
  if (!all) return fail(all.error());
  const auto dying = read_dying(values_);
  if (!dying) return fail(dying.error());
  for (const dying_file& file : *dying)
    work.marked.insert(file.blob.value);
  work.files = std::move(*all);
  work.next = stage::mark_files;
  return {};
}

result<void> garbage_collector::mark_some(collection& work, std::uint64_t now_ms) {
  write_batch batch;
  for (std::size_t i = 0; i < files_at_once && !work.files.empty(); ++i) {
    const blob_info file = std::move(work.files.back());
    work.files.pop_back();
    const bool is_young = file.written_unix_ms + in_ms(rules_.files) > now_ms;
    if (is_young || work.marked.contains(file.blob.value)) continue;
    const auto referenced = is_referenced(file.blob);
    if (!referenced) return fail(referenced.error());
    if (!*referenced) batch.puts.push_back(dying_entry(file.blob, now_ms, now_ms));
  }
  if (!batch.puts.empty()) {
    if (auto written = values_.write(batch); !written) return written;
    config::failpoint("g2");
  }
  return work.files.empty() ? begin_sweep(work) : result<void>{};
}

result<void> garbage_collector::begin_sweep(collection& work) {
  auto dying = read_dying(values_);
  if (!dying) return fail(dying.error());
  work.dying = std::move(*dying);
  work.next = stage::sweep;
  return {};
}

result<void> garbage_collector::sweep_some(collection& work, std::uint64_t now_ms) {
  write_batch batch;
  for (std::size_t i = 0; i < files_at_once && !work.dying.empty(); ++i) {
    const dying_file file = std::move(work.dying.back());
    work.dying.pop_back();
    if (auto ok = sweep_one(file, now_ms, batch, work.report); !ok) return ok;
  }
  if (work.dying.empty()) work.next = stage::done;
  if (batch.puts.empty() && batch.erases.empty()) return {};
  const auto written = values_.write(batch);
  config::failpoint("g4");
  return written;
}

result<void> garbage_collector::sweep_one(const dying_file& file, std::uint64_t now_ms,
                                          write_batch& batch, garbage_report& report) {
  const auto known = blobs_.info(file.blob);
  if (!known && known.error().code != errc::not_found) return fail(known.error());
  const std::uint64_t bytes = known ? known->bytes : 0;
  if (file.due_ms > now_ms) {
    ++report.dying_files;
    report.dying_bytes += bytes;
    return {};
  }
  const auto referenced = is_referenced(file.blob);
  if (!referenced) return fail(referenced.error());
  // Written again since: its record may be on its way.
  if (!*referenced && known && known->written_unix_ms > file.since_ms) {
    batch.puts.push_back(dying_entry(file.blob, known->written_unix_ms,
                                     known->written_unix_ms + in_ms(rules_.files)));
    return {};
  }
  if (!*referenced && known) {
    if (auto removed = blobs_.remove(file.blob); !removed) return removed;
    config::failpoint("g3");
    ++report.removed_files;
    report.removed_bytes += bytes;
  }
  batch.erases.push_back({column::leases, ended(dying_name) + file.blob.value});
  return {};
}

result<garbage_report> garbage_collector::collect(const collect_garbage_request& request,
                                                  std::uint64_t now_ms) {
  begin(request, garbage_scope::files);
  for (;;) {
    auto report = step(now_ms);
    if (!report) return fail(report.error());
    if (report->has_value()) return std::move(**report);
  }
}

result<void> garbage_collector::remove(const checkpoint_id& checkpoint, std::uint64_t now_ms) {
  if (auto ok = index_files(); !ok) return ok;
  const auto record = checkpoints_.get(checkpoint.value);
  if (!record) return fail(record.error());
  const auto unread = index_.refresh(limits::checkpoint_list_max);
  if (!unread) return fail(unread.error());
  auto kept = in_use(now_ms);
  if (!kept) return fail(kept.error());
  keep_newest_snapshots(index_.all(), *kept);
  // Everything else stays, and a folded delta does not keep what it folds.
  for (const auto& [id, summary] : index_.all()) {
    if (id != record->id.value && summary.folds != record->id.value) kept->insert(id);
  }
  keep_chains(index_.all(), *kept);
  if (kept->contains(record->id.value))
    return fail(errc::in_use, "checkpoint " + record->id.value + " is needed",
                "a run resumes from it, a deployment serves it, a later delta builds on it, or "
                "somebody is reading it",
                "remove what needs it first, or try again in some minutes");
  const auto fold = checkpoints_.fold_of(record->id);
  if (!fold) return fail(fold.error());
  std::vector<std::string> going{record->id.value};
  if (fold->has_value()) going.push_back((*fold)->id.value);
  return forget(going, now_ms);
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
