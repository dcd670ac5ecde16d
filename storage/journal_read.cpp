#include <limits>
#include <utility>

#include "config/limits.hpp"
#include "storage/journal.hpp"
#include "storage/journal_record.hpp"
#include "storage/keys.hpp"
#include "storage/record.hpp"

namespace troupe::storage {

namespace {

// What a reply adds around its ops is far smaller than the difference.
constexpr std::size_t page_bytes_max = limits::frame_bytes_max - limits::inline_value_bytes_max;

/// Whole ops of the log, each with its end if it has one, and whether there are more behind them.
struct log_stretch {
  std::vector<log_entry> entries;
  bool more = false;
};

/// Stops only where the next op begins, so that no op is cut from its end.
result<log_stretch> read_stretch(key_value_store& values, const read_log_request& request) {
  log_stretch stretch;
  std::size_t ops = 0;
  std::size_t bytes = 0;
  const auto scanned =
      values.scan(column::oplog, op_key(request.run, request.after_seq_id + 1),
                  behind(request.run.value), [&](std::string_view key, std::string_view value) {
                    if (!parse_log_key(request.run, key).is_end) {
                      stretch.more = ops == request.max_ops || bytes > page_bytes_max;
                      if (stretch.more) return false;
                      ++ops;
                    }
                    bytes += value.size();
                    stretch.entries.push_back({std::string(key), std::string(value)});
                    return true;
                  });
  if (!scanned) return fail(scanned.error());
  return stretch;
}

/// Adds what an end record says to the op it ends.
result<void> apply_end(logged_op& op, const std::string& record) {
  auto end = decode_record<finish_op_request>(record);
  if (!end) return fail(end.error());
  op.finished = true;
  op.step = end->step;
  op.weights = end->weights;
  op.outcome = std::move(end->outcome);
  return {};
}

/// Builds a page op by op until it is full.
class page_builder {
 public:
  page_builder(blob_store& blobs, const run_id& run) : blobs_(blobs), run_(run) {}

  /// Takes the op at `next` and its end; false when the page has no room for it.
  result<bool> add(const std::vector<log_entry>& entries, std::size_t& next) {
    const log_key key = parse_log_key(run_, entries[next].key);
    if (key.is_end) return fail(lost_beginning(key.seq_id));
    const auto record = fetch(entries[next]);
    if (!record) return fail(record.error());
    const bool has_end = next + 1 < entries.size() &&
                         parse_log_key(run_, entries[next + 1].key).seq_id == key.seq_id;
    const auto end = has_end ? fetch(entries[next + 1]) : result<std::string>{};
    if (!end) return fail(end.error());
    const std::size_t bytes = record->size() + end->size();
    if (!page_.ops.empty() && bytes_ + bytes > page_bytes_max) return false;
    auto op = decode_record<logged_op>(*record);
    if (!op) return fail(op.error());
    if (has_end) {
      if (const auto applied = apply_end(*op, *end); !applied) return fail(applied.error());
    }
    bytes_ += bytes;
    page_.ops.push_back(std::move(*op));
    next += has_end ? 2 : 1;
    return true;
  }

  read_log_reply take() { return std::move(page_); }

 private:
  error lost_beginning(std::uint64_t seq_id) const {
    return {
        errc::corrupt,
        "op " + std::to_string(seq_id) + " of run '" + run_.value + "' has an end but no beginning",
        "the database lost a record", "restore the data folder from a copy"};
  }

  result<std::string> fetch(const log_entry& entry) {
    const auto value = unpack(entry.value);
    if (!value) return fail(value.error());
    if (value->blob.empty()) return std::string(value->record);
    return read_payload(blobs_, value->blob);
  }

  blob_store& blobs_;
  const run_id& run_;
  read_log_reply page_;
  std::size_t bytes_ = 0;
};

}  // namespace

result<read_log_reply> journal::read(const read_log_request& request) {
  if (request.max_ops == 0)
    return fail(errc::invalid_argument, "a page of no ops was asked for", "max_ops is 0",
                "ask for at least one op");
  read_log_reply nothing_behind;
  nothing_behind.complete = true;
  if (request.after_seq_id == std::numeric_limits<std::uint64_t>::max()) return nothing_behind;
  const auto stretch = read_stretch(values_, request);
  if (!stretch) return fail(stretch.error());
  page_builder page(blobs_, request.run);
  std::size_t next = 0;
  while (next < stretch->entries.size()) {
    const auto added = page.add(stretch->entries, next);
    if (!added) return fail(added.error());
    if (!*added) break;
  }
  read_log_reply reply = page.take();
  reply.complete = next == stretch->entries.size() && !stretch->more;
  return reply;
}

}  // namespace troupe::storage
