#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "config/planted_bug.hpp"
#include "storage/open_store.hpp"
#include "storage/sha256.hpp"

namespace troupe::storage {

namespace {

/// Paths of one data folder, and which prefix folders are known to be durable.
class blob_tree {
 public:
  blob_tree(std::shared_ptr<file_system> files, std::string root)
      : files_(std::move(files)), root_(std::move(root)) {}

  file_system& files() const { return *files_; }

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
    if (const auto made = files_->make_folders(prefix_folder(name)); !made) return made;
    if (const auto synced = files_->sync_folder(blobs_folder()); !synced) return synced;
    durable_prefixes_.insert(prefix);
    return {};
  }

 private:
  std::shared_ptr<file_system> files_;
  std::string root_;
  std::mutex mutex_;
  std::set<std::string> durable_prefixes_;
};

class file_blob_writer final : public blob_writer {
 public:
  file_blob_writer(std::unique_ptr<draft_file> file, std::shared_ptr<blob_tree> tree)
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
    const auto file = std::move(file_);
    const std::string name = hash_.finish_hex();
    if (const auto made = tree_->make_prefix_folder(name); !made) return fail(made.error());
    config::failpoint("s3");
    if (!config::is_planted(config::bug::file_not_synced)) {
      if (const auto synced = file->sync(); !synced) return fail(synced.error());
    }
    // Replacing an existing file of the same name also heals one whose bytes have decayed.
    if (const auto moved = file->move_to(tree_->path(name)); !moved) return fail(moved.error());
    if (!config::is_planted(config::bug::name_not_synced)) {
      const auto synced = tree_->files().sync_folder(tree_->prefix_folder(name));
      if (!synced) return fail(synced.error());
    }
    config::failpoint("s4");
    return blob_info{blob_id{name}, size_};
  }

 private:
  static tl::unexpected<error> used_up() {
    return fail(errc::internal, "a blob writer was used after its commit", "misuse",
                "create one writer per blob");
  }

  std::unique_ptr<draft_file> file_;
  std::shared_ptr<blob_tree> tree_;
  sha256 hash_;
  std::uint64_t size_ = 0;
  error failure_;
};

class file_blob_store final : public blob_store {
 public:
  file_blob_store(std::shared_ptr<file_system> files, std::string root)
      : tree_(std::make_shared<blob_tree>(std::move(files), std::move(root))) {}

  result<void> prepare() {
    if (auto made = files().make_folders(tree_->blobs_folder()); !made) return made;
    if (auto made = files().make_folders(tree_->temporary_folder()); !made) return made;
    return files().remove_abandoned(tree_->temporary_folder());
  }

  result<std::unique_ptr<blob_writer>> create() override {
    auto file = files().create_draft(tree_->temporary_folder());
    if (!file) return fail(file.error());
    return std::make_unique<file_blob_writer>(std::move(*file), tree_);
  }

  result<std::unique_ptr<blob_reader>> open(const blob_id& blob) override {
    if (!is_sha256_hex(blob.value)) return no_such_blob(blob);
    return files().open(tree_->path(blob.value));
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
    const auto found = files().inspect(tree_->path(blob.value));
    if (!found) return fail(found.error());
    return blob_info{blob, found->bytes, found->written_unix_ms};
  }

  result<void> remove(const blob_id& blob) override {
    if (!is_sha256_hex(blob.value)) return no_such_blob(blob);
    return files().remove(tree_->path(blob.value));
  }

  result<std::vector<blob_info>> list() override {
    const auto prefixes = files().list(tree_->blobs_folder());
    if (!prefixes) return fail(prefixes.error());
    std::vector<blob_info> infos;
    for (const std::string& prefix : *prefixes) {
      const auto names = files().list(tree_->blobs_folder() + "/" + prefix);
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

  file_system& files() const { return tree_->files(); }

  std::shared_ptr<blob_tree> tree_;
};

}  // namespace

result<std::unique_ptr<blob_store>> open_file_blob_store(std::shared_ptr<file_system> files,
                                                         const std::string& root) {
  auto store = std::make_unique<file_blob_store>(std::move(files), root);
  if (const auto ready = store->prepare(); !ready) return fail(ready.error());
  return store;
}

}  // namespace troupe::storage
