#include "storage/journal.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "config/limits.hpp"
#include "storage/journal_record.hpp"
#include "storage/record.hpp"

namespace troupe::storage {

namespace {

result<std::string> pack_record(blob_store& blobs, const std::string& record,
                                const std::string& short_record) {
  if (record.size() <= limits::inline_value_bytes_max) return pack({{}, record});
  auto blob = write_payload(blobs, record);
  if (!blob) return fail(blob.error());
  return pack({std::move(*blob), short_record});
}

}  // namespace

journal::journal(key_value_store& values, blob_store& blobs) : values_(values), blobs_(blobs) {}

result<std::optional<std::string>> journal::find(const std::string& key) {
  const auto staged = staged_.find(key);
  if (staged != staged_.end()) return std::optional<std::string>{staged->second};
  return values_.get(column::oplog, key);
}

result<void> journal::append(const append_op_request& request) {
  const std::string key = op_key(request.op.run, request.op.seq_id);
  const auto known = find(key);
  if (!known) return fail(known.error());
  if (!known->has_value())
    return stage_op(key, {request.op, request.body_digest, false, 0, {}, {}});
  const auto value = unpack(**known);
  if (!value) return fail(value.error());
  const auto logged = decode_record<logged_op>(value->record);
  if (!logged) return fail(logged.error());
  if (logged->body_digest == request.body_digest) return {};
  return fail(errc::seq_reused,
              "seq_id " + std::to_string(request.op.seq_id) + " of run '" + request.op.run.value +
                  "' was logged with another body",
              "two clients write to the run, or a client forgot what it sent",
              "attach to the run again and continue with its next seq_id");
}

result<void> journal::stage_op(const std::string& key, const logged_op& op) {
  const auto record = encode_record(op);
  if (!record) return fail(record.error());
  const auto short_record = encode_record(without_payload(op));
  if (!short_record) return fail(short_record.error());
  auto value = pack_record(blobs_, *record, *short_record);
  if (!value) return fail(value.error());
  const auto packed = unpack(*value);
  if (!packed) return fail(packed.error());
  if (!packed->blob.empty())
    staged_refs_.push_back({column::refs, payload_ref_key(packed->blob, key), {}});
  staged_[key] = std::move(*value);
  return {};
}

result<void> journal::finish(const finish_op_request& request) {
  const std::string key = end_key(request.run, request.seq_id);
  const auto known = find(key);
  if (!known) return fail(known.error());
  if (known->has_value()) return {};
  const auto op = find(op_key(request.run, request.seq_id));
  if (!op) return fail(op.error());
  if (!op->has_value())
    return fail(errc::not_found,
                "op " + std::to_string(request.seq_id) + " of run '" + request.run.value +
                    "' ended but was never logged",
                "it was answered before it was accepted", "report this as a defect");
  const auto record = encode_record(request);
  if (!record) return fail(record.error());
  auto value = pack_record(blobs_, *record, {});
  if (!value) return fail(value.error());
  staged_[key] = std::move(*value);
  return {};
}

void journal::share(write_batch batch) {
  std::ranges::move(batch.puts, std::back_inserter(shared_.puts));
  std::ranges::move(batch.erases, std::back_inserter(shared_.erases));
}

result<void> journal::flush() {
  if (staged_.empty() && shared_.puts.empty()) return {};
  write_batch batch = std::exchange(shared_, {});
  std::ranges::move(std::exchange(staged_refs_, {}), std::back_inserter(batch.puts));
  for (auto& [key, value] : std::exchange(staged_, {}))
    batch.puts.push_back({column::oplog, key, std::move(value)});
  return values_.write(batch);
}

}  // namespace troupe::storage
