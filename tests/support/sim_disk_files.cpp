#include "tests/support/sim_disk_files.hpp"

#include <utility>

namespace troupe::tests {
namespace {

using session_ptr = std::shared_ptr<sim_disk::session>;

result<void> told(sim_disk::outcome outcome, const std::string& path) {
  switch (outcome) {
    case sim_disk::outcome::done:
      return {};
    case sim_disk::outcome::missing:
      return fail(errc::not_found, path + " does not exist", "the simulated disk lost it", "");
    case sim_disk::outcome::full:
      return fail(errc::storage_full, path + ": no space left", "the simulated disk is full",
                  "start again");
    case sim_disk::outcome::broken:
      break;
  }
  return fail(errc::storage, path + ": input/output error", "the simulated disk refuses",
              "start again");
}

class sim_draft final : public storage::draft_file {
 public:
  sim_draft(session_ptr session, sim_disk::file_ptr content, std::string path)
      : session_(std::move(session)), content_(std::move(content)), path_(std::move(path)) {}
  ~sim_draft() override {
    if (!path_.empty()) (void)session_->remove(path_);
  }

  result<void> append(std::span<const std::byte> bytes) override {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return told(session_->append(*content_, text), path_);
  }
  result<void> sync() override { return told(session_->sync(*content_), path_); }
  result<void> move_to(const std::string& target) override {
    auto moved = told(session_->move(path_, target), target);
    if (moved) path_.clear();
    return moved;
  }

 private:
  session_ptr session_;
  sim_disk::file_ptr content_;
  std::string path_;  ///< empty once it was moved
};

class sim_reader final : public storage::blob_reader {
 public:
  sim_reader(session_ptr session, sim_disk::file_ptr content, std::string path)
      : session_(std::move(session)), content_(std::move(content)), path_(std::move(path)) {}

  [[nodiscard]] std::uint64_t size() const override { return session_->size(*content_); }
  result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    const auto count =
        session_->read(*content_, offset, out.size(), reinterpret_cast<char*>(out.data()));
    if (count == out.size()) return {};
    return fail(errc::corrupt, path_ + " ends at byte " + std::to_string(offset + count),
                "it was cut short", "");
  }

 private:
  session_ptr session_;
  sim_disk::file_ptr content_;
  std::string path_;
};

class sim_files final : public storage::file_system {
 public:
  explicit sim_files(session_ptr session) : session_(std::move(session)) {}

  result<std::unique_ptr<storage::draft_file>> create_draft(const std::string& folder) override {
    std::string path = folder + "/" + session_->new_name();
    sim_disk::file_ptr content;
    if (auto made = told(session_->create(path, content), path); !made) return fail(made.error());
    return std::make_unique<sim_draft>(session_, std::move(content), std::move(path));
  }

  /// Called when the store is opened: nobody writes then.
  result<void> remove_abandoned(const std::string& folder) override {
    for (const std::string& name : session_->list(folder))
      (void)session_->remove(folder + "/" + name);
    return {};
  }

  result<std::unique_ptr<storage::blob_reader>> open(const std::string& path) override {
    auto content = session_->find(path);
    if (!content) return fail(told(sim_disk::outcome::missing, path).error());
    return std::make_unique<sim_reader>(session_, std::move(content), path);
  }

  result<storage::file_info> inspect(const std::string& path) override {
    const auto content = session_->find(path);
    if (!content) return fail(told(sim_disk::outcome::missing, path).error());
    return storage::file_info{session_->size(*content), 0};
  }

  result<void> remove(const std::string& path) override {
    return told(session_->remove(path), path);
  }

  result<void> make_folders(const std::string& path) override {
    for (auto slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1))
      session_->make_folder(path.substr(0, slash));
    session_->make_folder(path);
    return {};
  }

  result<void> sync_folder(const std::string& path) override {
    return told(session_->sync_folder(path), path);
  }

  result<std::vector<std::string>> list(const std::string& path) override {
    return session_->list(path);
  }

 private:
  session_ptr session_;
};

}  // namespace

std::shared_ptr<storage::file_system> make_sim_files(session_ptr session) {
  return std::make_shared<sim_files>(std::move(session));
}

}  // namespace troupe::tests
