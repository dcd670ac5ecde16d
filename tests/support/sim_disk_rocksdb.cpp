#include <utility>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "tests/support/sim_disk_files.hpp"

namespace troupe::tests {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;
using session_ptr = std::shared_ptr<sim_disk::session>;

IOStatus told(sim_disk::outcome outcome, const std::string& path) {
  switch (outcome) {
    case sim_disk::outcome::done:
      return IOStatus::OK();
    case sim_disk::outcome::missing:
      return IOStatus::PathNotFound(path, "the simulated disk lost it");
    case sim_disk::outcome::full:
      return IOStatus::NoSpace(path, "the simulated disk is full");
    case sim_disk::outcome::broken:
      break;
  }
  return IOStatus::IOError(path, "the simulated disk refuses");
}

class sequential_file final : public rocksdb::FSSequentialFile {
 public:
  sequential_file(session_ptr session, sim_disk::file_ptr content)
      : session_(std::move(session)), content_(std::move(content)) {}

  IOStatus Read(std::size_t n, const IOOptions&, Slice* out, char* scratch,
                IODebugContext*) override {
    const std::size_t count = session_->read(*content_, at_, n, scratch);
    at_ += count;
    *out = Slice(scratch, count);
    return IOStatus::OK();
  }
  IOStatus Skip(std::uint64_t n) override {
    at_ += n;
    return IOStatus::OK();
  }

 private:
  session_ptr session_;
  sim_disk::file_ptr content_;
  std::size_t at_ = 0;
};

class random_access_file final : public rocksdb::FSRandomAccessFile {
 public:
  random_access_file(session_ptr session, sim_disk::file_ptr content)
      : session_(std::move(session)), content_(std::move(content)) {}

  IOStatus Read(std::uint64_t offset, std::size_t n, const IOOptions&, Slice* out, char* scratch,
                IODebugContext*) const override {
    *out = Slice(scratch, session_->read(*content_, offset, n, scratch));
    return IOStatus::OK();
  }

 private:
  session_ptr session_;
  sim_disk::file_ptr content_;
};

class writable_file final : public rocksdb::FSWritableFile {
 public:
  using rocksdb::FSWritableFile::Append;

  writable_file(session_ptr session, sim_disk::file_ptr content, std::string path)
      : session_(std::move(session)), content_(std::move(content)), path_(std::move(path)) {}

  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return told(session_->append(*content_, data.ToStringView()), path_);
  }
  IOStatus Truncate(std::uint64_t size, const IOOptions&, IODebugContext*) override {
    return told(session_->cut(*content_, size), path_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return told(session_->sync(*content_), path_);
  }
  std::uint64_t GetFileSize(const IOOptions&, IODebugContext*) override {
    return session_->size(*content_);
  }

 private:
  session_ptr session_;
  sim_disk::file_ptr content_;
  std::string path_;
};

class directory final : public rocksdb::FSDirectory {
 public:
  directory(session_ptr session, std::string path)
      : session_(std::move(session)), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return told(session_->sync_folder(path_), path_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  session_ptr session_;
  std::string path_;
};

class rocksdb_files final : public rocksdb::FileSystem {
 public:
  explicit rocksdb_files(session_ptr session) : session_(std::move(session)) {}

  [[nodiscard]] const char* Name() const override { return "simulated"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* out,
                             IODebugContext*) override {
    return open<sequential_file>(path, out);
  }
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* out,
                               IODebugContext*) override {
    return open<random_access_file>(path, out);
  }
  IOStatus NewWritableFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* out,
                           IODebugContext*) override {
    sim_disk::file_ptr content;
    const auto made = session_->create(path, content);
    if (made == sim_disk::outcome::done)
      *out = std::make_unique<writable_file>(session_, std::move(content), path);
    return told(made, path);
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* out,
                              IODebugContext* context) override {
    auto content = session_->find(path);
    if (!content) return NewWritableFile(path, options, out, context);
    *out = std::make_unique<writable_file>(session_, std::move(content), path);
    return IOStatus::OK();
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* out, IODebugContext*) override {
    *out = std::make_unique<directory>(session_, path);
    return IOStatus::OK();
  }

  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    const bool is_there = session_->find(path) != nullptr || session_->is_folder(path);
    return is_there ? IOStatus::OK() : IOStatus::NotFound(path);
  }
  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* out,
                       IODebugContext*) override {
    *out = session_->list(path);
    return IOStatus::OK();
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    return told(session_->remove(path), path);
  }
  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    session_->make_folder(path);
    return IOStatus::OK();
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions& options,
                              IODebugContext* context) override {
    return CreateDir(path, options, context);
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported(path);
  }
  IOStatus GetFileSize(const std::string& path, const IOOptions&, std::uint64_t* out,
                       IODebugContext*) override {
    const auto content = session_->find(path);
    if (!content) return told(sim_disk::outcome::missing, path);
    *out = session_->size(*content);
    return IOStatus::OK();
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, std::uint64_t* out,
                                   IODebugContext*) override {
    *out = 0;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    return told(session_->move(from, to), from);
  }
  IOStatus LockFile(const std::string&, const IOOptions&, rocksdb::FileLock** out,
                    IODebugContext*) override {
    *out = std::make_unique<rocksdb::FileLock>().release();
    return IOStatus::OK();
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    const std::unique_ptr<rocksdb::FileLock> owned(lock);
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* out,
                       IODebugContext*) override {
    *out = session_->is_folder(path);
    return IOStatus::OK();
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string* out, IODebugContext*) override {
    *out = "/test";
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* out,
                           IODebugContext*) override {
    *out = path;
    return IOStatus::OK();
  }

 private:
  template <class File, class Port>
  IOStatus open(const std::string& path, std::unique_ptr<Port>* out) {
    auto content = session_->find(path);
    if (!content) return told(sim_disk::outcome::missing, path);
    *out = std::make_unique<File>(session_, std::move(content));
    return IOStatus::OK();
  }

  session_ptr session_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> make_sim_rocksdb_files(session_ptr session) {
  return std::make_shared<rocksdb_files>(std::move(session));
}

}  // namespace troupe::tests
