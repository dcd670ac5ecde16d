#pragma once

// A simulated disk (sim_disk.hpp) as the files of a blob store and as those of RocksDB.
//
// Threading: as sim_disk. Errors: as the ports; what a session that ended asks for is refused.

#include <memory>

#include "storage/file_system.hpp"
#include "tests/support/sim_disk.hpp"

namespace rocksdb {
class FileSystem;
}  // namespace rocksdb

namespace troupe::tests {

[[nodiscard]] std::shared_ptr<storage::file_system> make_sim_files(
    std::shared_ptr<sim_disk::session> session);

[[nodiscard]] std::shared_ptr<rocksdb::FileSystem> make_sim_rocksdb_files(
    std::shared_ptr<sim_disk::session> session);

}  // namespace troupe::tests
