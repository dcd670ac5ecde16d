#include "storage/posix/posix_file.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe::storage::posix {

namespace {

struct explanation {
  errc code;
  std::string_view cause;
  std::string_view action;
};

explanation explain(int number) {
  switch (number) {
    case ENOENT:
      return {errc::not_found, "it does not exist", "check the path"};
    case EEXIST:
      return {errc::already_exists, "the name is taken", "choose another name or remove it"};
    case ENOSPC:
    case EDQUOT:
      return {errc::storage_full, "the disk or the quota is full",
              "free space there or move the data folder"};
    case EROFS:
      return {errc::storage, "the file system is mounted read-only",
              "remount it writable or choose another data folder"};
    case EACCES:
    case EPERM:
      return {errc::storage, "this user may not access it",
              "fix owner and mode or choose another data folder"};
    case EMFILE:
    case ENFILE:
      return {errc::storage, "too many open files", "raise the limit of open files"};
    default:
      return {errc::storage, "the file system refused", "check the disk and the system log"};
  }
}

struct close_listing {
  void operator()(DIR* listing) const { ::closedir(listing); }
};

}  // namespace

file_descriptor& file_descriptor::operator=(file_descriptor&& other) noexcept {
  if (this != &other) {
    close();
    number_ = std::exchange(other.number_, -1);
  }
  return *this;
}

file_descriptor::~file_descriptor() {
  close();
}

void file_descriptor::close() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

tl::unexpected<error> system_failure(std::string_view verb, std::string_view path, int number) {
  const explanation known = explain(number);
  return fail(known.code,
              "cannot " + std::string(verb) + " " + std::string(path) + ": " +
                  std::generic_category().message(number),
              std::string(known.cause), std::string(known.action));
}

result<file_descriptor> open_for_reading(const std::string& path) {
  file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) return system_failure("open", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_failure("inspect", path, errno);
  if (!S_ISREG(info.st_mode))
    return fail(errc::not_found, path + " is not a regular file", "a folder or device has its name",
                "check the path");
  return file;
}

result<file_descriptor> create_new_file(const std::string& path) {
  file_descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.is_open()) return system_failure("create", path, errno);
  return file;
}

result<file_info> inspect(const file_descriptor& file, const std::string& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_failure("inspect", path, errno);
  const auto seconds = static_cast<std::uint64_t>(info.st_mtim.tv_sec);
  const auto nanoseconds = static_cast<std::uint64_t>(info.st_mtim.tv_nsec);
  return file_info{static_cast<std::uint64_t>(info.st_size),
                   seconds * 1000 + nanoseconds / 1'000'000};
}

result<std::uint64_t> file_size(const file_descriptor& file, const std::string& path) {
  const auto facts = inspect(file, path);
  if (!facts) return fail(facts.error());
  return facts->bytes;
}

result<void> write_all(const file_descriptor& file, std::span<const std::byte> bytes,
                       const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return system_failure("write", path, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

result<void> read_all_at(const file_descriptor& file, std::uint64_t offset,
                         std::span<std::byte> out, const std::string& path) {
  while (!out.empty()) {
    const ssize_t count = ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return system_failure("read", path, errno);
    }
    if (count == 0)
      return fail(errc::corrupt, path + " ends at byte " + std::to_string(offset),
                  "it was cut short", "restore it from a copy");
    offset += static_cast<std::uint64_t>(count);
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

result<std::string> read_text(const std::string& path, std::uint64_t bytes_max) {
  const auto file = open_for_reading(path);
  if (!file) return fail(file.error());
  const auto size = file_size(*file, path);
  if (!size) return fail(size.error());
  if (*size > bytes_max)
    return fail(errc::invalid_argument,
                path + " has " + std::to_string(*size) + " bytes, more than the " +
                    std::to_string(bytes_max) + " allowed",
                "it is not the file it should be", "check the path");
  std::string text(static_cast<std::size_t>(*size), '\0');
  const auto read = read_all_at(*file, 0, std::as_writable_bytes(std::span(text)), path);
  if (!read) return fail(read.error());
  return text;
}

result<void> sync_data(const file_descriptor& file, const std::string& path) {
  if (::fdatasync(file.get()) != 0) return system_failure("sync", path, errno);
  return {};
}

result<void> sync_directory(const std::string& path) {
  const file_descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return system_failure("open", path, errno);
  if (::fsync(folder.get()) != 0) return system_failure("sync", path, errno);
  return {};
}

result<void> rename_path(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_failure("rename " + from + " to", to, errno);
  return {};
}

result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return system_failure("remove", path, errno);
  return {};
}

result<void> make_directories(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return sync_directory(".");
    return sync_directory(slash == 0 ? "/" : path.substr(0, slash));
  }
  if (errno == ENOENT) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos || slash == 0)
      return system_failure("create folder", path, ENOENT);
    const auto parent = make_directories(path.substr(0, slash));
    if (!parent) return parent;
    return make_directories(path);
  }
  if (errno != EEXIST) return system_failure("create folder", path, errno);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return system_failure("inspect", path, errno);
  if (!S_ISDIR(info.st_mode))
    return fail(errc::storage, path + " is not a folder", "a file has its name",
                "remove it or choose another data folder");
  return {};
}

result<std::vector<std::string>> list_directory(const std::string& path) {
  const std::unique_ptr<DIR, close_listing> listing(::opendir(path.c_str()));
  if (!listing) return system_failure("list", path, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(listing.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return system_failure("list", path, errno);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace troupe::storage::posix
