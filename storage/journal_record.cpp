#include "storage/journal_record.hpp"

#include <variant>

#include "config/limits.hpp"
#include "storage/keys.hpp"
#include "storage/sha256.hpp"

namespace troupe::storage {

namespace {

// Sorted so that an op comes before its end.
constexpr char op_mark = 'a';
constexpr char end_mark = 'e';

constexpr char inline_tag = 'i';
constexpr char blob_tag = 'b';
constexpr std::size_t digest_digits = 64;

struct drop_payload {
  void operator()(forward_op& op) const { op.batch.clear(); }
  void operator()(forward_backward_op& op) const { op.batch.clear(); }
  void operator()(backward_op& op) const { op.logprob_gradients.clear(); }
  template <class Small>
  void operator()(Small&) const {}
};

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, what, "the disk returned other bytes than were written",
              "restore the data folder from a copy and check the disk");
}

}  // namespace

std::string op_key(const run_id& run, std::uint64_t seq_id) {
  return ended(run.value) + big_endian(seq_id) + op_mark;
}

std::string end_key(const run_id& run, std::uint64_t seq_id) {
  return ended(run.value) + big_endian(seq_id) + end_mark;
}

log_key parse_log_key(const run_id& run, std::string_view key) {
  const std::string_view rest = key.substr(run.value.size() + 1);
  return {from_big_endian(rest), rest.back() == end_mark};
}

std::string payload_refs_name(const blob_id& blob) {
  return ended("oplog") + blob.value;
}

std::string payload_ref_key(const blob_id& blob, std::string_view key) {
  return ended(payload_refs_name(blob)) + std::string(key);
}

std::string pack(const log_value& value) {
  if (value.blob.empty()) return inline_tag + std::string(value.record);
  return blob_tag + value.blob.value + std::string(value.record);
}

result<log_value> unpack(std::string_view value) {
  if (value.starts_with(inline_tag)) return log_value{{}, value.substr(1)};
  if (value.starts_with(blob_tag) && value.size() > digest_digits)
    return log_value{blob_id{std::string(value.substr(1, digest_digits))},
                     value.substr(1 + digest_digits)};
  return damaged("an op log record has an unknown form");
}

logged_op without_payload(logged_op op) {
  std::visit(drop_payload{}, op.op.body);
  return op;
}

result<blob_id> write_payload(blob_store& blobs, std::string_view record) {
  auto writer = blobs.create();
  if (!writer) return fail(writer.error());
  const auto written = (*writer)->append(std::as_bytes(std::span(record)));
  if (!written) return fail(written.error());
  auto info = (*writer)->commit();
  if (!info) return fail(info.error());
  return std::move(info->blob);
}

result<std::string> read_payload(blob_store& blobs, const blob_id& blob) {
  auto reader = blobs.open(blob);
  if (!reader && reader.error().code == errc::not_found)
    return damaged("op payload " + blob.value + " is gone");
  if (!reader) return fail(reader.error());
  if ((*reader)->size() > limits::frame_bytes_max)
    return damaged("op payload " + blob.value + " is larger than any message");
  std::string record(static_cast<std::size_t>((*reader)->size()), '\0');
  const auto read = (*reader)->read(0, std::as_writable_bytes(std::span(record)));
  if (!read) return fail(read.error());
  if (sha256_hex(std::as_bytes(std::span(record))) != blob.value)
    return damaged("op payload " + blob.value + " fails its digest");
  return record;
}

}  // namespace troupe::storage
