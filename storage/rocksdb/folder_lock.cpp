#include "storage/rocksdb/folder_lock.hpp"

#include <array>
#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace troupe::storage {

namespace {

std::string holder_of(const posix::file_descriptor& file) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
  if (size <= 0) return "another process";
  std::string_view digits(text.data(), static_cast<std::size_t>(size));
  digits = digits.substr(0, digits.find('\n'));
  return "process " + std::string(digits);
}

}  // namespace

result<folder_lock> folder_lock::acquire(const std::string& root) {
  const std::string path = root + "/LOCK";
  posix::file_descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.is_open()) return posix::system_failure("open", path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return posix::system_failure("lock", path, errno);
    return fail(errc::in_use, "the data folder " + root + " is in use by " + holder_of(file),
                "a control node already runs on it",
                "stop that process, or choose another data folder");
  }
  if (::ftruncate(file.get(), 0) != 0) return posix::system_failure("write", path, errno);
  const std::string text = std::to_string(::getpid()) + "\n";
  const auto written = posix::write_all(file, std::as_bytes(std::span(text)), path);
  if (!written) return fail(written.error());
  return folder_lock(std::move(file));
}

}  // namespace troupe::storage
