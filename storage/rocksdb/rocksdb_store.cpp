#include "storage/rocksdb/rocksdb_store.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <rocksdb/db.h>
#include <rocksdb/table.h>

#include "config/planted_bug.hpp"
#include "storage/open_store.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/rocksdb/folder_lock.hpp"

namespace troupe::storage {

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

constexpr std::array<const char*, num_columns> column_names = {
    "oplog", "snapshots", "checkpoints", "edges", "refs", "leases", "ledger", "jobs", "meta"};

rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}

rocksdb::DBOptions database_options() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // The default stops at the first damaged record and opens as if later ones never existed; this
  // one forgives only a torn tail, which is what a crash leaves.
  options.wal_recovery_mode = config::is_planted(config::bug::damaged_log_skipped)
                                  ? rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords
                                  : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.track_and_verify_wals_in_manifest = true;
  options.verify_sst_unique_id_in_manifest = true;
  options.paranoid_checks = true;
  // A rarely written column would otherwise keep every old log alive.
  options.max_total_wal_size = 64 * mebibyte;
  options.db_write_buffer_size = 32 * mebibyte;
  options.max_background_jobs = 2;
  options.max_open_files = 256;
  options.keep_log_file_num = 4;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  return options;
}

rocksdb::ColumnFamilyOptions column_options(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = 8 * mebibyte;
  options.memtable_protection_bytes_per_key = 8;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// Newest first: the damaged file is nearly always the log that was written last.
std::string log_files(const std::string& folder) {
  const auto names = posix::list_directory(folder);
  if (!names) return folder;
  std::string text;
  for (auto name = names->rbegin(); name != names->rend(); ++name) {
    if (name->ends_with(".log")) text += (text.empty() ? "" : ", ") + folder + "/" + *name;
  }
  return text.empty() ? folder : text;
}

tl::unexpected<error> database_failure(const std::string& attempt, const rocksdb::Status& status) {
  const std::string what = "cannot " + attempt + ": " + status.ToString();
  if (status.IsNoSpace())
    return fail(errc::storage_full, what, "the disk or the quota is full",
                "free space there, then restart");
  if (status.IsCorruption())
    return fail(errc::corrupt, what, "the disk returned other bytes than were written",
                "restore the data folder from a copy and check the disk");
  return fail(errc::storage, what, "the disk or its permissions refused",
              "check the path, its mode and the system log, then restart");
}

class silent_log final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

class rocksdb_store final : public key_value_store {
 public:
  rocksdb_store(std::optional<folder_lock> lock, std::string folder)
      : lock_(std::move(lock)), folder_(std::move(folder)) {}

  ~rocksdb_store() override {
    for (rocksdb::ColumnFamilyHandle* handle : columns_)
      database_->DestroyColumnFamilyHandle(handle);
  }

  /// On other files than the machine's there is nobody else, and no thread of the database's own:
  /// the same writes are then the same, one by one.
  result<void> open(const std::shared_ptr<rocksdb::FileSystem>& files = nullptr) {
    rocksdb::DBOptions options = database_options();
    if (files) {
      env_ = rocksdb::NewCompositeEnv(files);
      options.env = env_.get();
      options.info_log = std::make_shared<silent_log>();
    }
    const auto cache = rocksdb::NewLRUCache(16 * mebibyte);
    std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
    wanted.emplace_back(rocksdb::kDefaultColumnFamilyName, column_options(cache));
    for (const char* name : column_names)
      wanted.emplace_back(name, column_options(cache));
    for (auto& each : wanted)
      each.options.disable_auto_compactions = files != nullptr;
    rocksdb::DB* opened = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, folder_, wanted, &columns_, &opened);
    database_.reset(opened);
    if (status.ok()) return {};
    if (status.IsCorruption())
      return fail(errc::corrupt,
                  "the database refuses to open: " + status.ToString() + "; its log files are " +
                      log_files(folder_),
                  "a file was damaged in the middle, not torn at its end by a crash",
                  "restore the data folder from a copy; opening it as it is would lose records. "
                  "`troupe doctor` checks the rest of it");
    return database_failure("open the database in " + folder_, status);
  }

  result<void> write(const write_batch& batch) override {
    if (!failure_.empty())
      return fail(errc::storage, "the database accepts no writes after a failed one: " + failure_,
                  "an earlier write failed, so what the disk holds is uncertain",
                  "restart the control node; it recovers what is durable");
    rocksdb::WriteBatch grouped;
    for (const put_entry& put : batch.puts)
      grouped.Put(handle(put.where), put.key, put.value);
    for (const erase_entry& erase : batch.erases)
      grouped.Delete(handle(erase.where), erase.key);
    rocksdb::WriteOptions options;
    options.sync = !config::is_planted(config::bug::no_sync);
    const rocksdb::Status status = database_->Write(options, &grouped);
    if (status.ok()) return {};
    failure_ = status.ToString();
    return database_failure("write to the database in " + folder_, status);
  }

  result<std::optional<std::string>> get(column where, std::string_view key) override {
    std::string value;
    const rocksdb::Status status = database_->Get({}, handle(where), slice(key), &value);
    if (status.ok()) return std::optional<std::string>{std::move(value)};
    if (status.IsNotFound()) return std::optional<std::string>{};
    return database_failure("read from the database in " + folder_, status);
  }

  result<void> scan(column where, std::string_view first, std::string_view last,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override {
    const rocksdb::Slice bound = slice(last);
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &bound;
    const std::unique_ptr<rocksdb::Iterator> entries(
        database_->NewIterator(options, handle(where)));
    for (entries->Seek(slice(first)); entries->Valid(); entries->Next()) {
      if (!visit(entries->key().ToStringView(), entries->value().ToStringView())) break;
    }
    if (entries->status().ok()) return {};
    return database_failure("read from the database in " + folder_, entries->status());
  }

 private:
  // The first handle is the default column, which RocksDB insists on and nothing uses.
  rocksdb::ColumnFamilyHandle* handle(column where) const {
    return columns_[1 + static_cast<std::size_t>(where)];
  }

  std::optional<folder_lock> lock_;
  std::string folder_;
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> database_;
  std::vector<rocksdb::ColumnFamilyHandle*> columns_;
  std::string failure_;
};

}  // namespace

result<std::unique_ptr<key_value_store>> open_rocksdb_store(const std::string& root) {
  const std::string folder = root + "/db";
  if (const auto made = posix::make_directories(folder); !made) return fail(made.error());
  auto lock = folder_lock::acquire(root);
  if (!lock) return fail(lock.error());
  auto store = std::make_unique<rocksdb_store>(std::move(*lock), folder);
  if (const auto opened = store->open(); !opened) return fail(opened.error());
  return store;
}

result<std::unique_ptr<key_value_store>> open_rocksdb_store_on(
    const std::shared_ptr<rocksdb::FileSystem>& files, const std::string& folder) {
  auto store = std::make_unique<rocksdb_store>(std::nullopt, folder);
  if (const auto opened = store->open(files); !opened) return fail(opened.error());
  return store;
}

}  // namespace troupe::storage
