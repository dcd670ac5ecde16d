#include "storage/rocksdb/rocksdb_store.hpp"

#include <memory>
#include <optional>
#include <utility>

#include <rocksdb/db.h>

#include "config/planted_bug.hpp"
#include "storage/open_store.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/rocksdb/folder_lock.hpp"
#include "storage/rocksdb/manifest_guard.hpp"
#include "storage/rocksdb/rocksdb_options.hpp"

namespace troupe::storage {

namespace {

rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}

class silent_log final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

class rocksdb_store final : public key_value_store {
 public:
  /// `guard` watches over real files only.
  rocksdb_store(std::optional<folder_lock> lock, std::string folder,
                std::shared_ptr<manifest_guard> guard)
      : lock_(std::move(lock)), folder_(std::move(folder)), guard_(std::move(guard)) {}

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
    if (guard_) {
      if (auto whole = guard_->check(); !whole) return whole;
      options.listeners.push_back(guard_);
    }
    auto wanted = wanted_columns();
    for (auto& each : wanted)
      each.options.disable_auto_compactions = files != nullptr;
    rocksdb::DB* opened = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, folder_, wanted, &columns_, &opened);
    database_.reset(opened);
    if (!status.ok()) return opening_failure(folder_, status);
    return guard_ ? guard_->record() : result<void>{};
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
  std::shared_ptr<manifest_guard> guard_;
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> database_;
  std::vector<rocksdb::ColumnFamilyHandle*> columns_;
  std::string failure_;
};

}  // namespace

result<std::unique_ptr<key_value_store>> open_rocksdb_store(const std::string& root) {
  const std::string folder = root + "/db";
  for (const std::string& made_folder : {folder, root + "/tmp"}) {
    if (const auto made = posix::make_directories(made_folder); !made) return fail(made.error());
  }
  auto lock = folder_lock::acquire(root);
  if (!lock) return fail(lock.error());
  auto guard = std::make_shared<manifest_guard>(folder, root);
  auto store = std::make_unique<rocksdb_store>(std::move(*lock), folder, std::move(guard));
  if (const auto opened = store->open(); !opened) return fail(opened.error());
  return store;
}

result<std::unique_ptr<key_value_store>> open_rocksdb_store_on(
    const std::shared_ptr<rocksdb::FileSystem>& files, const std::string& folder) {
  auto store = std::make_unique<rocksdb_store>(std::nullopt, folder, nullptr);
  if (const auto opened = store->open(files); !opened) return fail(opened.error());
  return store;
}

}  // namespace troupe::storage
