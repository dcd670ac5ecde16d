#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "storage/open_store.hpp"
#include "storage/sha256.hpp"

namespace troupe::storage {

namespace {

using bytes = std::vector<std::byte>;

struct shelf {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const bytes>> blobs;
};

tl::unexpected<error> no_such_blob(const blob_id& blob) {
  return fail(errc::not_found, "no blob '" + blob.value + "' in memory", "it was never committed",
              "check the id");
}

class memory_blob_writer final : public blob_writer {
 public:
  explicit memory_blob_writer(std::shared_ptr<shelf> target) : target_(std::move(target)) {}

  result<void> append(std::span<const std::byte> piece) override {
    content_.insert(content_.end(), piece.begin(), piece.end());
    return {};
  }

  result<blob_info> commit() override {
    if (!target_)
      return fail(errc::internal, "a blob writer was committed twice", "misuse",
                  "create one writer per blob");
    const blob_id name{sha256_hex(content_)};
    const std::uint64_t size = content_.size();
    const std::scoped_lock lock(target_->mutex);
    target_->blobs[name.value] = std::make_shared<const bytes>(std::move(content_));
    target_.reset();
    return blob_info{name, size};
  }

 private:
  std::shared_ptr<shelf> target_;
  bytes content_;
};

class memory_blob_reader final : public blob_reader {
 public:
  explicit memory_blob_reader(std::shared_ptr<const bytes> content)
      : content_(std::move(content)) {}

  std::uint64_t size() const override { return content_->size(); }

  result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset > content_->size() || out.size() > content_->size() - offset)
      return fail(errc::corrupt, "a blob in memory ends before the bytes asked for",
                  "its writer stopped early", "write it again");
    std::copy_n(content_->begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }

 private:
  std::shared_ptr<const bytes> content_;
};

class memory_blob_store final : public blob_store {
 public:
  result<std::unique_ptr<blob_writer>> create() override {
    return std::make_unique<memory_blob_writer>(shelf_);
  }

  result<std::unique_ptr<blob_reader>> open(const blob_id& blob) override {
    auto content = find(blob);
    if (!content) return no_such_blob(blob);
    return std::make_unique<memory_blob_reader>(std::move(content));
  }

  result<void> verify(const blob_id& blob) override {
    const auto content = find(blob);
    if (!content) return no_such_blob(blob);
    if (sha256_hex(*content) == blob.value) return {};
    return fail(errc::corrupt, "blob '" + blob.value + "' fails its digest", "memory corruption",
                "test the machine's memory");
  }

  result<blob_info> info(const blob_id& blob) override {
    const auto content = find(blob);
    if (!content) return no_such_blob(blob);
    return blob_info{blob, content->size()};
  }

  result<void> remove(const blob_id& blob) override {
    const std::scoped_lock lock(shelf_->mutex);
    if (shelf_->blobs.erase(blob.value) == 0) return no_such_blob(blob);
    return {};
  }

  result<std::vector<blob_info>> list() override {
    const std::scoped_lock lock(shelf_->mutex);
    std::vector<blob_info> infos;
    infos.reserve(shelf_->blobs.size());
    for (const auto& [name, content] : shelf_->blobs)
      infos.push_back({blob_id{name}, content->size()});
    return infos;
  }

 private:
  std::shared_ptr<const bytes> find(const blob_id& blob) {
    const std::scoped_lock lock(shelf_->mutex);
    const auto found = shelf_->blobs.find(blob.value);
    return found == shelf_->blobs.end() ? nullptr : found->second;
  }

  std::shared_ptr<shelf> shelf_ = std::make_shared<shelf>();
};

}  // namespace

std::unique_ptr<blob_store> make_memory_blob_store() {
  return std::make_unique<memory_blob_store>();
}

}  // namespace troupe::storage
