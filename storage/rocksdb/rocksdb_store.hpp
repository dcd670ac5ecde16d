#pragma once

// The database of a control node on files that somebody else provides: how simulations put a disk
// below it that fails. Programs use open_rocksdb_store (storage/open_store.hpp).
//
// Threading and errors: as open_rocksdb_store.

#include <memory>
#include <string>

#include "storage/key_value_store.hpp"

namespace rocksdb {
class FileSystem;
}  // namespace rocksdb

namespace troupe::storage {

/// Takes no lock, writes no log for people and compacts only when asked.
[[nodiscard]] result<std::unique_ptr<key_value_store>> open_rocksdb_store_on(
    const std::shared_ptr<rocksdb::FileSystem>& files, const std::string& folder);

}  // namespace troupe::storage
