#pragma once

// Storage for simulations, in memory or on a simulated disk. What the stores hold survives a
// restart of the control node, as far as the disk keeps it; blobs can also read differently than
// they were written.
//
// Threading: one thread. Errors: errc::storage_full, errc::storage, errc::corrupt, as a real disk.

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "storage/blob_store.hpp"
#include "storage/key_value_store.hpp"
#include "tests/support/sim_disk_files.hpp"

namespace troupe::tests {

/// Where a cluster's state lies on its disk.
inline constexpr std::string_view sim_data_folder = "/data";

class sim_values final : public storage::key_value_store {
 public:
  /// In memory without a disk, else a database on it.
  explicit sim_values(sim_disk* disk);
  result<void> write(const storage::write_batch& batch) override;
  result<std::optional<std::string>> get(storage::column where, std::string_view key) override;
  result<void> scan(storage::column where, std::string_view first, std::string_view last,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override;

  /// As when the process that holds the store is killed and started anew.
  void start_again();
  /// Why the database did not open again.
  [[nodiscard]] const std::optional<error>& refusal() const { return refusal_; }

 private:
  void open();

  sim_disk* disk_;
  std::shared_ptr<sim_disk::session> session_;
  std::unique_ptr<storage::key_value_store> inner_;
  std::optional<error> refusal_;
};

class sim_blobs final : public storage::blob_store {
 public:
  explicit sim_blobs(sim_disk* disk);
  result<std::unique_ptr<storage::blob_writer>> create() override;
  result<std::unique_ptr<storage::blob_reader>> open(const blob_id& blob) override;
  result<void> verify(const blob_id& blob) override;
  result<storage::blob_info> info(const blob_id& blob) override;
  result<void> remove(const blob_id& blob) override;
  result<std::vector<storage::blob_info>> list() override;

  /// As when the machine that holds the files lost its power.
  void start_again();

  /// One bit of it reads differently from now on.
  void flip_a_bit(const blob_id& blob) { damaged_.insert(blob.value); }
  void fill_up() { is_full_ = true; }
  void free_space() { is_full_ = false; }

 private:
  sim_disk* disk_;
  std::unique_ptr<storage::blob_store> inner_;
  std::set<std::string> damaged_;
  bool is_full_ = false;
};

}  // namespace troupe::tests
