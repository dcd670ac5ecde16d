#pragma once

// Small ordered values with atomic, durable batches: what the lineage and the op log need of a
// database, and nothing more.
//
// Threading: one thread at a time (the checkpoint store actor owns it).
// Errors: errc::storage, errc::storage_full, errc::corrupt. After a failed write the store answers
// errc::storage to every later write: a disk that failed once cannot be trusted to have kept order.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"

namespace troupe::storage {

enum class column : std::uint8_t {
  oplog = 0,
  snapshots = 1,
  checkpoints = 2,
  edges = 3,
  refs = 4,
  leases = 5,
  ledger = 6,
  jobs = 7,
  meta = 8,
};
inline constexpr std::size_t num_columns = 9;

struct put_entry {
  column where;
  std::string key;
  std::string value;
};

struct erase_entry {
  column where;
  std::string key;
};

struct write_batch {
  std::vector<put_entry> puts;
  std::vector<erase_entry> erases;
};

class key_value_store {
 public:
  virtual ~key_value_store() = default;
  /// All or nothing, and durable when it returns.
  virtual result<void> write(const write_batch& batch) = 0;
  virtual result<std::optional<std::string>> get(column where, std::string_view key) = 0;
  /// Entries with first <= key < last in order, until `visit` returns false.
  virtual result<void> scan(
      column where, std::string_view first, std::string_view last,
      const std::function<bool(std::string_view key, std::string_view value)>& visit) = 0;
};

}  // namespace troupe::storage
