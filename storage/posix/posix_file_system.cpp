#include <utility>

#include "storage/open_store.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/posix/temporary_file.hpp"

namespace troupe::storage {

namespace {

class posix_draft final : public draft_file {
 public:
  explicit posix_draft(posix::temporary_file file) : file_(std::move(file)) {}

  result<void> append(std::span<const std::byte> bytes) override { return file_.append(bytes); }
  result<void> sync() override { return file_.sync(); }
  result<void> move_to(const std::string& target) override { return file_.move_to(target); }

 private:
  posix::temporary_file file_;
};

class posix_reader final : public blob_reader {
 public:
  posix_reader(posix::file_descriptor file, std::string path, std::uint64_t size)
      : file_(std::move(file)), path_(std::move(path)), size_(size) {}

  std::uint64_t size() const override { return size_; }

  result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset > size_ || out.size() > size_ - offset)
      return fail(errc::corrupt,
                  path_ + " has " + std::to_string(size_) + " bytes, too few for a read at " +
                      std::to_string(offset),
                  "it was cut short or a record names the wrong file", "restore it from a copy");
    return posix::read_all_at(file_, offset, out, path_);
  }

 private:
  posix::file_descriptor file_;
  std::string path_;
  std::uint64_t size_;
};

class posix_file_system final : public file_system {
 public:
  result<std::unique_ptr<draft_file>> create_draft(const std::string& folder) override {
    auto file = posix::temporary_file::create(folder);
    if (!file) return fail(file.error());
    return std::make_unique<posix_draft>(std::move(*file));
  }

  result<void> remove_abandoned(const std::string& folder) override {
    return posix::remove_abandoned(folder);
  }

  result<std::unique_ptr<blob_reader>> open(const std::string& path) override {
    auto file = posix::open_for_reading(path);
    if (!file) return fail(file.error());
    const auto size = posix::file_size(*file, path);
    if (!size) return fail(size.error());
    return std::make_unique<posix_reader>(std::move(*file), path, *size);
  }

  result<file_info> inspect(const std::string& path) override {
    const auto file = posix::open_for_reading(path);
    if (!file) return fail(file.error());
    return posix::inspect(*file, path);
  }

  result<void> remove(const std::string& path) override { return posix::remove_file(path); }
  result<void> make_folders(const std::string& path) override {
    return posix::make_directories(path);
  }
  result<void> sync_folder(const std::string& path) override { return posix::sync_directory(path); }
  result<std::vector<std::string>> list(const std::string& path) override {
    return posix::list_directory(path);
  }
};

}  // namespace

result<std::unique_ptr<blob_store>> open_posix_blob_store(const std::string& root) {
  return open_file_blob_store(std::make_shared<posix_file_system>(), root);
}

}  // namespace troupe::storage
