#include "storage/posix/folder_draft.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe::storage::posix {

namespace {

std::string parent_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1);
}

tl::unexpected<error> name_taken(const std::string& path) {
  return fail(errc::already_exists, path + " exists already", "an earlier export wrote it",
              "choose another directory or remove it");
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

// Plain rename() would silently replace an empty folder; file systems without the flag are left to
// the check before.
int rename_to_free_name(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  return ::rename(from, to);
}

}  // namespace

result<folder_draft> folder_draft::create(std::string target) {
  while (target.size() > 1 && target.ends_with('/'))
    target.pop_back();
  if (target.empty() || name_of(target).empty())
    return fail(errc::invalid_argument, "'" + target + "' names no folder to write", "it is empty",
                "give the path of a new folder");
  if (exists(target)) return name_taken(target);
  const std::string parent = parent_of(target);
  if (const auto made = make_directories(parent); !made) return fail(made.error());
  static std::atomic<std::uint64_t> counter{0};
  std::string path = parent + "/." + name_of(target) + ".draft." + std::to_string(::getpid()) +
                     "." + std::to_string(counter++);
  // A draft of a dead process with the same number is garbage.
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
  if (::mkdir(path.c_str(), 0777) != 0) return system_failure("create folder", path, errno);
  return folder_draft(std::move(path), std::move(target));
}

folder_draft::~folder_draft() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

result<file_descriptor> folder_draft::create_file(const std::string& name) {
  const std::string path = path_of(name);
  file_descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.is_open()) return system_failure("create", path, errno);
  return file;
}

result<void> folder_draft::write_file(const std::string& name, std::string_view content) {
  const auto file = create_file(name);
  if (!file) return fail(file.error());
  const std::string path = path_of(name);
  auto written = write_all(*file, std::as_bytes(std::span(content)), path);
  if (!written) return written;
  return sync_data(*file, path);
}

result<void> folder_draft::publish() {
  if (auto synced = sync_directory(path_); !synced) return synced;
  if (rename_to_free_name(path_.c_str(), target_.c_str()) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY) return name_taken(target_);
    return system_failure("rename " + path_ + " to", target_, errno);
  }
  path_.clear();
  return sync_directory(parent_of(target_));
}

}  // namespace troupe::storage::posix
