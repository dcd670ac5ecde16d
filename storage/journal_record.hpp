#pragma once

// Values of the op log: how an op and its end are kept under their keys, small ones inline and
// large ones as a blob with what is needed without it. Format: docs/formats/records.md.
//
// Threading: plain functions. Errors: as the stores; errc::corrupt for damaged values or payloads.

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/journal.hpp"
#include "storage/blob_store.hpp"

namespace troupe::storage {

[[nodiscard]] std::string op_key(const run_id& run, std::uint64_t seq_id);
[[nodiscard]] std::string end_key(const run_id& run, std::uint64_t seq_id);

struct log_key {
  std::uint64_t seq_id = 0;
  bool is_end = false;
};
/// Of a key of `run`.
[[nodiscard]] log_key parse_log_key(const run_id& run, std::string_view key);

/// One stored pair, copied out of a scan.
struct log_entry {
  std::string key;
  std::string value;
};

/// The key under which column refs remembers that the op at `key` needs `blob`.
[[nodiscard]] std::string payload_ref_key(const blob_id& blob, std::string_view key);
[[nodiscard]] std::string payload_refs_name(const blob_id& blob);

/// A stored value: the inline message, and the blob with the whole one when it was too large.
struct log_value {
  blob_id blob;  ///< empty: `record` is the whole message
  std::string_view record;
};
[[nodiscard]] std::string pack(const log_value& value);
[[nodiscard]] result<log_value> unpack(std::string_view value);

/// The op without its batch: what stays when the payload goes.
[[nodiscard]] logged_op without_payload(logged_op op);

/// Writes `record` as a durable blob; reads it back whole and checked against its name.
[[nodiscard]] result<blob_id> write_payload(blob_store& blobs, std::string_view record);
[[nodiscard]] result<std::string> read_payload(blob_store& blobs, const blob_id& blob);

}  // namespace troupe::storage
