#include "storage/posix/temporary_file.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/deadlines.hpp"

namespace troupe::storage::posix {

namespace {

// Reads as empty where the kernel tells none: such files count as another machine's.
std::string boot_id() {
  std::ifstream source("/proc/sys/kernel/random/boot_id");
  std::string id;
  source >> id;
  return id;
}

std::string next_name() {
  static std::atomic<std::uint64_t> counter{0};
  return boot_id() + "." + std::to_string(::getpid()) + "." + std::to_string(counter++);
}

bool try_lock(const file_descriptor& file) {
  return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
}

bool is_linked(const file_descriptor& file) {
  struct stat info {};
  return ::fstat(file.get(), &info) == 0 && info.st_nlink > 0;
}

std::chrono::seconds age(const struct stat& older, const struct stat& newer) {
  return std::chrono::seconds(newer.st_mtim.tv_sec - older.st_mtim.tv_sec);
}

void remove_if_abandoned(const std::string& path, bool of_this_boot, const struct stat& present) {
  const file_descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!file.is_open() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  if (!of_this_boot && age(info, present) < deadlines::abandoned_write) return;
  // What cannot be removed costs space, not correctness: the next start tries again.
  if (try_lock(file)) ::unlink(path.c_str());
}

}  // namespace

result<temporary_file> temporary_file::create(const std::string& folder) {
  // A name may be taken by a process of another container with the same number, and a cleaner may
  // catch a file between its creation and its lock: both are settled by the next name.
  constexpr int attempts = 1000;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    std::string path = folder + "/" + next_name();
    auto file = create_new_file(path);
    if (!file) {
      if (file.error().code == errc::already_exists) continue;
      return fail(file.error());
    }
    if (!try_lock(*file)) {
      if (errno == EWOULDBLOCK) continue;
      const int number = errno;
      ::unlink(path.c_str());
      return system_failure("lock", path, number);
    }
    if (is_linked(*file)) return temporary_file(std::move(*file), std::move(path));
  }
  return fail(errc::storage, "no free name for a temporary file in " + folder,
              "it holds thousands of abandoned files", "empty that folder");
}

temporary_file::~temporary_file() {
  if (file_.is_open()) ::unlink(path_.c_str());
}

result<void> temporary_file::append(std::span<const std::byte> bytes) {
  return write_all(file_, bytes, path_);
}

result<void> temporary_file::sync() {
  return sync_data(file_, path_);
}

result<void> temporary_file::move_to(const std::string& target) {
  if (const auto renamed = rename_path(path_, target); !renamed) return renamed;
  file_.close();
  return {};
}

result<void> remove_abandoned(const std::string& folder) {
  const auto names = list_directory(folder);
  if (!names) return fail(names.error());
  if (names->empty()) return {};
  const auto probe = temporary_file::create(folder);
  if (!probe) return fail(probe.error());
  struct stat present {};
  if (::fstat(probe->file().get(), &present) != 0)
    return system_failure("inspect", probe->path(), errno);
  const std::string boot = boot_id();
  for (const std::string& name : *names) {
    const bool of_this_boot = !boot.empty() && name.starts_with(boot + ".");
    remove_if_abandoned(folder + "/" + name, of_this_boot, present);
  }
  return {};
}

}  // namespace troupe::storage::posix
