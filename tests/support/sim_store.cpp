#include "tests/support/sim_store.hpp"

#include <utility>

#include "config/planted_bug.hpp"
#include "storage/open_store.hpp"

namespace troupe::tests {
namespace {

tl::unexpected<error> refused(errc reason) {
  return fail(reason, reason == errc::storage_full ? "no space left" : "input/output error",
              "the simulated disk refuses", "start again");
}

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

sim_values::sim_values() : inner_(storage::make_memory_key_value_store()) {}

result<void> sim_values::write(const storage::write_batch& batch) {
  if (failure_ != errc::none) return refused(failure_);
  if (config::is_planted(config::bug::no_sync)) {
    undo_of_last_ = {};
    for (const auto& put : batch.puts) {
      const auto before = inner_->get(put.where, put.key);
      if (before && before->has_value()) {
        undo_of_last_.puts.push_back({put.where, put.key, **before});
      } else {
        undo_of_last_.erases.push_back({put.where, put.key});
      }
    }
  }
  return inner_->write(batch);
}

result<std::optional<std::string>> sim_values::get(storage::column where, std::string_view key) {
  return inner_->get(where, key);
}

result<void> sim_values::scan(
    storage::column where, std::string_view first, std::string_view last,
    const std::function<bool(std::string_view, std::string_view)>& visit) {
  return inner_->scan(where, first, last, visit);
}

void sim_values::start_again() {
  failure_ = errc::none;
  if (config::is_planted(config::bug::no_sync)) {
    (void)inner_->write(std::exchange(undo_of_last_, {}));
  }
}

sim_blobs::sim_blobs() : inner_(storage::make_memory_blob_store()) {}

result<std::unique_ptr<storage::blob_writer>> sim_blobs::create() {
  if (is_full_) return refused(errc::storage_full);
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
