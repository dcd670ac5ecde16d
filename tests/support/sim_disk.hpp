#pragma once

// A disk that keeps what POSIX promises and nothing more: bytes are durable after a sync of their
// file, names after a sync of their folder. It can lose its power, fill up, or fail a write, at the
// n-th write from now, so that the same seed breaks the same write.
//
// A session is what one process sees. When it ends, or when the power fails, its open files go on
// answering "broken" and change nothing: what a killed process still meant to write is not written.
//
// After a sync that failed, what it was to keep is lost even if a later sync succeeds, as kernels
// do it.
//
// Threading: any thread (RocksDB has some); the seed decides as long as one thread writes.
// Invariants: DISK-1 what was synced under a synced name survives. DISK-2 of the rest an arbitrary
// beginning of each file may survive.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::tests {

class sim_disk {
 public:
  enum class outcome : std::uint8_t { done, missing, full, broken };
  enum class failure : std::uint8_t {
    none,
    full,    ///< every write from now on ends half done, until repair()
    broken,  ///< one write or sync fails, and what it was to keep is lost with the power
    torn,    ///< the power fails in the middle of a write
  };

  struct file {
    std::string bytes;
    std::size_t num_durable = 0;
    std::vector<std::pair<std::size_t, std::size_t>> lost;  ///< by a sync that failed
  };
  using file_ptr = std::shared_ptr<file>;

  class session {
   public:
    explicit session(sim_disk& disk) : disk_(disk) {}

    /// A new, empty file in the place of what has the name.
    [[nodiscard]] outcome create(const std::string& path, file_ptr& out);
    [[nodiscard]] file_ptr find(const std::string& path);  ///< null: there is none
    [[nodiscard]] outcome append(file& to, std::string_view bytes);
    [[nodiscard]] outcome cut(file& at, std::size_t size);
    [[nodiscard]] outcome sync(file& which);
    [[nodiscard]] outcome sync_folder(const std::string& folder);
    [[nodiscard]] outcome move(const std::string& from, const std::string& to);
    [[nodiscard]] outcome remove(const std::string& path);
    /// How much of it there was, up to `count`.
    std::size_t read(const file& from, std::size_t offset, std::size_t count, char* out);
    [[nodiscard]] std::size_t size(const file& of);
    void make_folder(const std::string& path);
    [[nodiscard]] bool is_folder(const std::string& path);
    [[nodiscard]] std::vector<std::string> list(const std::string& folder);  ///< sorted
    [[nodiscard]] std::string new_name();
    void end();

   private:
    friend class sim_disk;
    sim_disk& disk_;
    bool has_ended_ = false;
  };

  explicit sim_disk(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] std::shared_ptr<session> begin_session();
  void lose_power();
  /// What another disk would hold if this one's power failed now.
  [[nodiscard]] std::unique_ptr<sim_disk> after_a_loss_of_power();
  /// The write or sync after so many others fails.
  void fail_after(failure how, std::uint32_t num_writes);
  [[nodiscard]] bool has_failed() const;
  [[nodiscard]] bool has_lost_power() const;
  /// Space was freed, the power is back.
  void repair();

 private:
  [[nodiscard]] bool fails_now();
  outcome fail_append(file& to, std::string_view bytes);
  void end_sessions();
  [[nodiscard]] file_ptr as_found_later(const file& before);

  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<std::string, file_ptr> names_;
  std::map<std::string, file_ptr> durable_names_;
  std::set<std::string> folders_;  ///< always durable
  std::vector<std::weak_ptr<session>> sessions_;
  failure armed_ = failure::none;
  std::uint32_t writes_left_ = 0;
  bool is_full_ = false;
  bool has_failed_ = false;
  bool has_lost_power_ = false;
  std::uint64_t num_names_ = 0;
};

}  // namespace troupe::tests
