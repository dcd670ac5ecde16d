#include <memory>

#include "storage/open_store.hpp"
#include "storage/rocksdb/folder_lock.hpp"
#include "storage/rocksdb/manifest_guard.hpp"
#include "storage/rocksdb/rocksdb_options.hpp"

namespace troupe::storage {

result<void> check_rocksdb_store(const std::string& root) {
  const std::string folder = root + "/db";
  const auto lock = folder_lock::acquire(root);
  if (!lock) return fail(lock.error());
  if (auto whole = manifest_guard(folder, root).check(); !whole) return whole;
  rocksdb::DBOptions options = database_options();
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> columns;
  const auto open =
      rocksdb::DB::OpenForReadOnly(options, folder, wanted_columns(), &columns, &opened);
  const std::unique_ptr<rocksdb::DB> database(opened);
  if (!open.ok()) return opening_failure(folder, open);
  auto read = database->VerifyChecksum(rocksdb::ReadOptions());
  if (read.ok()) read = database->VerifyFileChecksums(rocksdb::ReadOptions());
  for (rocksdb::ColumnFamilyHandle* column : columns)
    database->DestroyColumnFamilyHandle(column);
  if (!read.ok()) return database_failure("read the database in " + folder, read);
  return {};
}

}  // namespace troupe::storage
