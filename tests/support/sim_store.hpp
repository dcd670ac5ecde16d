#pragma once

// Storage for simulations that fails on request: full, broken until the next start, or returning
// other bytes than were written. What the stores hold survives a restart of the control node.
//
// Threading: one thread. Errors: errc::storage_full, errc::storage, errc::corrupt, as a real disk.
// Invariants: SIMSTORE-1 a failed write changes nothing; after an I/O error every write fails until
// start_again().

#include <map>
#include <memory>
#include <set>
#include <string>

#include "storage/blob_store.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::tests {

class sim_values final : public storage::key_value_store {
 public:
  sim_values();
  result<void> write(const storage::write_batch& batch) override;
  result<std::optional<std::string>> get(storage::column where, std::string_view key) override;
  result<void> scan(storage::column where, std::string_view first, std::string_view last,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override;

  /// The next writes are refused until start_again().
  void fail_writes(errc reason) { failure_ = reason; }
  [[nodiscard]] bool is_failing() const { return failure_ != errc::none; }
  /// As when the process that holds the store is killed and started anew: what it wrote is there.
  void start_again();

 private:
  std::unique_ptr<storage::key_value_store> inner_;
  errc failure_ = errc::none;
  storage::write_batch undo_of_last_;
};

class sim_blobs final : public storage::blob_store {
 public:
  sim_blobs();
  result<std::unique_ptr<storage::blob_writer>> create() override;
  result<std::unique_ptr<storage::blob_reader>> open(const blob_id& blob) override;
  result<void> verify(const blob_id& blob) override;
  result<storage::blob_info> info(const blob_id& blob) override;
  result<void> remove(const blob_id& blob) override;
  result<std::vector<storage::blob_info>> list() override;

  /// One bit of it reads differently from now on.
  void flip_a_bit(const blob_id& blob) { damaged_.insert(blob.value); }
  void fill_up() { is_full_ = true; }
  void free_space() { is_full_ = false; }

 private:
  std::unique_ptr<storage::blob_store> inner_;
  std::set<std::string> damaged_;
  bool is_full_ = false;
};

}  // namespace troupe::tests
