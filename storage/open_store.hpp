#pragma once

// Opens the durable state of a cluster on local disk: what `main` wires into the checkpoint store.
//
// Layout of a data folder: `db/` (RocksDB), `blobs/ab/cdef...` (files by SHA-256), `tmp/` (writes
// in progress; emptied at start), `LOCK` (held while open), `db.mark` (what of the database's list
// of files is durable).
//
// Threading: as the ports. Errors: errc::in_use (another process holds the folder),
// errc::storage (not writable, naming the path), errc::storage_full, errc::corrupt (a file
// of the database is damaged, exchanged or lost; names it, and leaves all as it was).

#include <memory>
#include <string>

#include "storage/blob_store.hpp"
#include "storage/file_system.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::storage {

/// Files under `<root>/blobs`. Also for nodes that only share the storage root: takes no lock.
[[nodiscard]] result<std::unique_ptr<blob_store>> open_posix_blob_store(const std::string& root);

/// The same on other files.
[[nodiscard]] result<std::unique_ptr<blob_store>> open_file_blob_store(
    std::shared_ptr<file_system> files, const std::string& root);

/// RocksDB under `<root>/db`, exclusive.
[[nodiscard]] result<std::unique_ptr<key_value_store>> open_rocksdb_store(const std::string& root);

/// Reads all of a database that nobody has open, and changes nothing.
[[nodiscard]] result<void> check_rocksdb_store(const std::string& root);

/// In memory, for simulations and tests; forgets everything when destroyed.
[[nodiscard]] std::unique_ptr<blob_store> make_memory_blob_store();
[[nodiscard]] std::unique_ptr<key_value_store> make_memory_key_value_store();

}  // namespace troupe::storage
