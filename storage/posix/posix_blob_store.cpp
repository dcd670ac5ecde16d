#include <mutex>
#include <set>
#include <utility>

#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "storage/open_store.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/posix/temporary_file.hpp"
#include "storage/sha256.hpp"

namespace troupe::storage {

namespace {

using posix::file_descriptor;
using posix::temporary_file;

/// Paths of one data folder, and which prefix folders are known to be durable.
class blob_tree {
 public:
  explicit blob_tree(std::string root) : root_(std::move(root)) {}

  std::string temporary_folder() const { return root_ + "/tmp"; }
  std::string blobs_folder() const { return root_ + "/blobs"; }

  std::string prefix_folder(const std::string& name) const {
    return blobs_folder() + "/" + name.substr(0, 2);
  }

  std::string path(const std::string& name) const {
    return prefix_folder(name) + "/" + name.substr(2);
  }

  /// Another process may have made the folder and not yet synced it: so each process syncs the
  /// parent once itself before it relies on the name.
  result<void> make_prefix_folder(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    const std::string prefix = name.substr(0, 2);
    if (durable_prefixes_.contains(prefix)) return {};
    if (const auto made = posix::make_directories(prefix_folder(name)); !made) return made;
    if (const auto synced = posix::sync_directory(blobs_folder()); !synced) return synced;
    durable_prefixes_.insert(prefix);
    return {};
  }

 private:
  std::string root_;
  std::mutex mutex_;
  std::set<std::string> durable_prefixes_;
};

class posix_blob_writer final : public blob_writer {
 public:
  posix_blob_writer(temporary_file file, std::shared_ptr<blob_tree> tree)
      : file_(std::move(file)), tree_(std::move(tree)) {}

  result<void> append(std::span<const std::byte> bytes) override {
    if (failure_.code != errc::none) return fail(failure_);
    if (!file_) return used_up();
    auto written = file_->append(bytes);
    if (!written) {
      failure_ = written.error();
      return written;
    }
    hash_.update(bytes);
    size_ += bytes.size();
    return {};
  }

  result<blob_info> commit() override {
    if (failure_.code != errc::none) return fail(failure_);
    if (!file_) return used_up();
    temporary_file file = std::move(*file_);
    file_.reset();
    const std::string name = hash_.finish_hex();
    if (const auto made = tree_->make_prefix_folder(name); !made) return fail(made.error());
    config::failpoint("s3");
    // Replacing an existing file of the same name also heals one whose bytes have decayed.
    if (const auto moved = file.publish(tree_->path(name)); !moved) return fail(moved.error());
    const auto synced = posix::sync_directory(tree_->prefix_folder(name));
    if (!synced) return fail(synced.error());
    config::failpoint("s4");
    return blob_info{blob_id{name}, size_};
  }

 private:
  static tl::unexpected<error> used_up() {
    return fail(errc::internal, "a blob writer was used after its commit", "misuse",
                "create one writer per blob");
  }

  std::optional<temporary_file> file_;
  std::shared_ptr<blob_tree> tree_;
  sha256 hash_;
  std::uint64_t size_ = 0;
  error failure_;
};

class posix_blob_reader final : public blob_reader {
 public:
  posix_blob_reader(file_descriptor file, std::string path, std::uint64_t size)
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
  file_descriptor file_;
  std::string path_;
  std::uint64_t size_;
};

class posix_blob_store final : public blob_store {
 public:
  explicit posix_blob_store(std::string root)
      : tree_(std::make_shared<blob_tree>(std::move(root))) {}

  result<void> prepare() {
    if (auto made = posix::make_directories(tree_->blobs_folder()); !made) return made;
    if (auto made = posix::make_directories(tree_->temporary_folder()); !made) return made;
    return posix::remove_abandoned(tree_->temporary_folder());
  }

  result<std::unique_ptr<blob_writer>> create() override {
    auto file = temporary_file::create(tree_->temporary_folder());
    if (!file) return fail(file.error());
    return std::make_unique<posix_blob_writer>(std::move(*file), tree_);
  }

  result<std::unique_ptr<blob_reader>> open(const blob_id& blob) override {
    if (!is_sha256_hex(blob.value)) return no_such_blob(blob);
    const std::string path = tree_->path(blob.value);
    auto file = posix::open_for_reading(path);
    if (!file) return fail(file.error());
    const auto size = posix::file_size(*file, path);
    if (!size) return fail(size.error());
    return std::make_unique<posix_blob_reader>(std::move(*file), path, *size);
  }

  result<void> verify(const blob_id& blob) override {
    auto reader = open(blob);
    if (!reader) return fail(reader.error());
    sha256 hash;
    std::vector<std::byte> piece(limits::blob_chunk_bytes);
    const std::uint64_t size = (*reader)->size();
    for (std::uint64_t offset = 0; offset < size;) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), size - offset));
      const std::span<std::byte> part(piece.data(), count);
      if (const auto read = (*reader)->read(offset, part); !read) return read;
      hash.update(part);
      offset += count;
    }
    if (hash.finish_hex() == blob.value) return {};
    return fail(errc::corrupt, tree_->path(blob.value) + " fails its digest",
                "the disk returned other bytes than were written",
                "restore the file from a copy and check the disk");
  }

  result<blob_info> info(const blob_id& blob) override {
    if (!is_sha256_hex(blob.value)) return no_such_blob(blob);
    const std::string path = tree_->path(blob.value);
    const auto file = posix::open_for_reading(path);
    if (!file) return fail(file.error());
    const auto found = posix::inspect(*file, path);
    if (!found) return fail(found.error());
    return blob_info{blob, found->bytes, found->written_unix_ms};
  }

  result<void> remove(const blob_id& blob) override {
    if (!is_sha256_hex(blob.value)) return no_such_blob(blob);
    return posix::remove_file(tree_->path(blob.value));
  }

  result<std::vector<blob_info>> list() override {
    const auto prefixes = posix::list_directory(tree_->blobs_folder());
    if (!prefixes) return fail(prefixes.error());
    std::vector<blob_info> infos;
    for (const std::string& prefix : *prefixes) {
      const auto names = posix::list_directory(tree_->blobs_folder() + "/" + prefix);
      if (!names) return fail(names.error());
      for (const std::string& name : *names) {
        const blob_id blob{prefix + name};
        if (!is_sha256_hex(blob.value)) continue;
        auto found = info(blob);
        // A file removed since the listing is simply no longer there.
        if (found) infos.push_back(std::move(*found));
        if (!found && found.error().code != errc::not_found) return fail(found.error());
      }
    }
    return infos;
  }

 private:
  static tl::unexpected<error> no_such_blob(const blob_id& blob) {
    return fail(errc::not_found, "'" + blob.value + "' names no blob",
                "a blob's name is 64 lower-case hexadecimal digits", "check the id");
  }

  std::shared_ptr<blob_tree> tree_;
};

}  // namespace

result<std::unique_ptr<blob_store>> open_posix_blob_store(const std::string& root) {
  auto store = std::make_unique<posix_blob_store>(root);
  if (const auto ready = store->prepare(); !ready) return fail(ready.error());
  return store;
}

}  // namespace troupe::storage
