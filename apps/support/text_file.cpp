#include "apps/support/text_file.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe::apps {
namespace {

constexpr std::streamsize block_bytes = 64 * 1024;

}  // namespace

std::string folder_of(const std::string& path) {
  const auto mark = path.rfind('/');
  return mark == std::string::npos ? "." : path.substr(0, mark + 1);
}

bool sync_folder(const std::string& folder) {
  const int number = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool ok = number >= 0 && ::fsync(number) == 0;
  if (number >= 0) ::close(number);
  return ok;
}

result<std::string> read_text_file(const std::string& path, std::size_t bytes_max) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(errc::not_found, "cannot read " + path, "it is missing or not readable",
                "check the path");
  }
  std::string text;
  std::string block(static_cast<std::size_t>(block_bytes), '\0');
  while (text.size() <= bytes_max && file.read(block.data(), block_bytes).gcount() > 0)
    text.append(block, 0, static_cast<std::size_t>(file.gcount()));
  if (text.size() > bytes_max) {
    return fail(errc::invalid_argument, path + " is too large", "it is not the expected file",
                "check the path");
  }
  return text;
}

result<void> replace_text_file(const std::string& path, std::string_view text) {
  const std::string part = path + ".part";
  const int file = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok = file >= 0;
  for (std::size_t done = 0; ok && done < text.size();) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    ok = count > 0 || (count < 0 && errno == EINTR);
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  ok = ok && ::fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) ::close(file);
  if (!ok || ::rename(part.c_str(), path.c_str()) != 0 || !sync_folder(folder_of(path))) {
    return fail(errc::storage, "cannot write " + path, std::strerror(ok ? errno : reason),
                "check that the folder exists, is writable and has space");
  }
  return {};
}

}  // namespace troupe::apps
