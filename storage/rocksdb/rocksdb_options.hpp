#pragma once

// How the database is set up, by whoever opens it, and what is told of one that is damaged.
//
// Threading: pure functions.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <rocksdb/db.h>

#include "messages/error.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::storage {

/// In the order of `column`.
inline constexpr std::array<const char*, num_columns> column_names = {
    "oplog", "snapshots", "checkpoints", "edges", "refs", "leases", "ledger", "jobs", "meta"};

[[nodiscard]] rocksdb::DBOptions database_options();

/// The default column first, which RocksDB insists on and nothing uses.
[[nodiscard]] std::vector<rocksdb::ColumnFamilyDescriptor> wanted_columns();

/// What is left to do with a database that lost or changed what was durable.
inline constexpr const char* damage_advice =
    "restore the data folder from a copy; opening it as it is would lose records. "
    "`troupe doctor` checks the rest of it";

/// What an operation on an open database failed of.
[[nodiscard]] tl::unexpected<error> database_failure(const std::string& attempt,
                                                     const rocksdb::Status& status);

/// Why it did not open: names the file that is damaged, or those that may be.
[[nodiscard]] tl::unexpected<error> opening_failure(const std::string& folder,
                                                    const rocksdb::Status& status);

}  // namespace troupe::storage
