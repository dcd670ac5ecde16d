#include "tests/support/sim_store.hpp"

#include <stdexcept>
#include <utility>

#include "storage/open_store.hpp"
#include "storage/rocksdb/rocksdb_store.hpp"

namespace troupe::tests {
namespace {

class flipped_reader final : public storage::blob_reader {
 public:
  explicit flipped_reader(std::unique_ptr<storage::blob_reader> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] std::uint64_t size() const override { return inner_->size(); }
  result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (auto got = inner_->read(offset, out); !got) return got;
    // Near the end: in the values, where only a digest tells.
    const std::uint64_t victim = size() - 2;
    if (victim >= offset && victim < offset + out.size()) {
      out[static_cast<std::size_t>(victim - offset)] ^= std::byte{0x10};
    }
    return {};
  }

 private:
  std::unique_ptr<storage::blob_reader> inner_;
};

/// Writing a blob again replaces its file, and heals it.
class healing_writer final : public storage::blob_writer {
 public:
  healing_writer(std::unique_ptr<storage::blob_writer> inner, std::set<std::string>& damaged)
      : inner_(std::move(inner)), damaged_(damaged) {}
  result<void> append(std::span<const std::byte> bytes) override { return inner_->append(bytes); }
  result<storage::blob_info> commit() override {
    auto info = inner_->commit();
    if (info) damaged_.erase(info->blob.value);
    return info;
  }

 private:
  std::unique_ptr<storage::blob_writer> inner_;
  std::set<std::string>& damaged_;
};

}  // namespace

sim_values::sim_values(sim_disk* disk) : disk_(disk) {
  if (disk_ == nullptr) {
    inner_ = storage::make_memory_key_value_store();
  } else {
    open();
  }
}

void sim_values::open() {
  session_ = disk_->begin_session();
  auto opened = storage::open_rocksdb_store_on(make_sim_rocksdb_files(session_),
                                               std::string(sim_data_folder) + "/db");
  refusal_.reset();
  if (!opened) refusal_ = opened.error();
  if (opened) inner_ = std::move(*opened);
}

result<void> sim_values::write(const storage::write_batch& batch) {
  if (refusal_) return fail(*refusal_);
  return inner_->write(batch);
}

result<std::optional<std::string>> sim_values::get(storage::column where, std::string_view key) {
  if (refusal_) return fail(*refusal_);
  return inner_->get(where, key);
}

result<void> sim_values::scan(
    storage::column where, std::string_view first, std::string_view last,
    const std::function<bool(std::string_view, std::string_view)>& visit) {
  if (refusal_) return fail(*refusal_);
  return inner_->scan(where, first, last, visit);
}

void sim_values::start_again() {
  if (disk_ == nullptr) return;
  session_->end();
  inner_.reset();
  open();
}

sim_blobs::sim_blobs(sim_disk* disk) : disk_(disk) {
  if (disk_ == nullptr) {
    inner_ = storage::make_memory_blob_store();
  } else {
    start_again();
  }
}

void sim_blobs::start_again() {
  if (disk_ == nullptr) return;
  auto opened = storage::open_file_blob_store(make_sim_files(disk_->begin_session()),
                                              std::string(sim_data_folder));
  if (!opened) throw std::runtime_error(to_string(opened.error()));
  inner_ = std::move(*opened);
}

result<std::unique_ptr<storage::blob_writer>> sim_blobs::create() {
  if (is_full_) return fail(errc::storage_full, "no space left", "the simulated disk is full", "");
  auto writer = inner_->create();
  if (!writer) return writer;
  return std::make_unique<healing_writer>(std::move(*writer), damaged_);
}

result<std::unique_ptr<storage::blob_reader>> sim_blobs::open(const blob_id& blob) {
  auto reader = inner_->open(blob);
  if (!reader || !damaged_.contains(blob.value)) return reader;
  return std::make_unique<flipped_reader>(std::move(*reader));
}

result<void> sim_blobs::verify(const blob_id& blob) {
  if (damaged_.contains(blob.value)) {
    return fail(errc::corrupt, "blob " + blob.value + " fails its digest", "a flipped bit", "");
  }
  return inner_->verify(blob);
}

result<storage::blob_info> sim_blobs::info(const blob_id& blob) {
  return inner_->info(blob);
}

result<void> sim_blobs::remove(const blob_id& blob) {
  return inner_->remove(blob);
}

result<std::vector<storage::blob_info>> sim_blobs::list() {
  return inner_->list();
}

}  // namespace troupe::tests
