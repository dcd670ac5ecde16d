#include <algorithm>
#include <limits>
#include <utility>

#include "storage/journal.hpp"
#include "storage/journal_record.hpp"
#include "storage/keys.hpp"
#include "storage/record.hpp"

namespace troupe::storage {

namespace {

// Bounds what one round holds in memory: so many values of at most the inline size.
constexpr std::size_t ops_per_round = 128;

std::string mark_key(const run_id& run) {
  return ended("oplog-trimmed") + run.value;
}

/// Ended ops of a part of the log.
struct trim_round {
  std::vector<log_entry> ended_ops;
  std::uint64_t scanned_through = 0;
  std::uint64_t first_pending = std::numeric_limits<std::uint64_t>::max();
  bool last = true;
};

result<trim_round> scan_round(key_value_store& values, const run_id& run, std::uint64_t after,
                              std::uint64_t through) {
  trim_round round;
  round.scanned_through = through;
  log_entry op;
  const auto settle_pending = [&] {
    if (!op.key.empty())
      round.first_pending = std::min(round.first_pending, parse_log_key(run, op.key).seq_id);
  };
  const bool to_the_end = through == std::numeric_limits<std::uint64_t>::max();
  const std::string last = to_the_end ? behind(run.value) : op_key(run, through + 1);
  const auto scanned = values.scan(column::oplog, op_key(run, after + 1), last,
                                   [&](std::string_view key, std::string_view value) {
                                     const log_key parsed = parse_log_key(run, key);
                                     if (parsed.is_end) {
                                       if (!op.key.empty())
                                         round.ended_ops.push_back(std::exchange(op, {}));
                                       round.last = round.ended_ops.size() < ops_per_round;
                                       if (!round.last) round.scanned_through = parsed.seq_id;
                                       return round.last;
                                     }
                                     settle_pending();
                                     op = {std::string(key), std::string(value)};
                                     return true;
                                   });
  if (!scanned) return fail(scanned.error());
  settle_pending();
  return round;
}

/// What trimming changes: shorter values, and the blobs they no longer need.
struct trim_plan {
  write_batch batch;
  std::vector<blob_id> blobs;
};

result<void> plan_op(trim_plan& plan, const log_entry& entry) {
  const auto value = unpack(entry.value);
  if (!value) return fail(value.error());
  std::string short_record(value->record);
  if (value->blob.empty()) {
    auto op = decode_record<logged_op>(value->record);
    if (!op) return fail(op.error());
    auto encoded = encode_record(without_payload(std::move(*op)));
    if (!encoded) return fail(encoded.error());
    if (encoded->size() == short_record.size()) return {};
    short_record = std::move(*encoded);
  } else {
    plan.batch.erases.push_back({column::refs, payload_ref_key(value->blob, entry.key)});
    plan.blobs.push_back(value->blob);
  }
  plan.batch.puts.push_back({column::oplog, entry.key, pack({{}, short_record})});
  return {};
}

result<bool> is_referenced(key_value_store& values, const blob_id& blob) {
  bool referenced = false;
  const std::string name = payload_refs_name(blob);
  const auto scanned = values.scan(column::refs, ended(name), behind(name), [&](auto, auto) {
    referenced = true;
    return false;
  });
  if (!scanned) return fail(scanned.error());
  return referenced;
}

result<void> apply(key_value_store& values, blob_store& blobs, const trim_plan& plan) {
  if (auto written = values.write(plan.batch); !written) return written;
  for (const blob_id& blob : plan.blobs) {
    const auto referenced = is_referenced(values, blob);
    if (!referenced) return fail(referenced.error());
    // No record names the blob any more: one that cannot be removed is garbage, not a fault.
    if (!*referenced) static_cast<void>(blobs.remove(blob));
  }
  return {};
}

}  // namespace

result<void> journal::trim(const trim_log_request& request) {
  const auto mark = values_.get(column::meta, mark_key(request.run));
  if (!mark) return fail(mark.error());
  std::uint64_t after = mark->has_value() ? from_big_endian(**mark) : 0;
  std::uint64_t first_pending = std::numeric_limits<std::uint64_t>::max();
  bool last = after >= request.through_seq_id;
  while (!last) {
    const auto round = scan_round(values_, request.run, after, request.through_seq_id);
    if (!round) return fail(round.error());
    trim_plan plan;
    for (const log_entry& entry : round->ended_ops) {
      if (const auto planned = plan_op(plan, entry); !planned) return planned;
    }
    after = round->scanned_through;
    first_pending = std::min(first_pending, round->first_pending);
    const std::uint64_t trimmed = std::min(after, first_pending - 1);
    plan.batch.puts.push_back({column::meta, mark_key(request.run), big_endian(trimmed)});
    if (const auto applied = apply(values_, blobs_, plan); !applied) return applied;
    last = round->last;
  }
  return {};
}

}  // namespace troupe::storage
