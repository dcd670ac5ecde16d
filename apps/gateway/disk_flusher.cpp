#include "apps/gateway/disk_flusher.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "apps/support/text_file.hpp"

namespace troupe::gateway {
namespace {

tl::unexpected<error> cannot_flush(const std::string& path) {
  return fail(errc::storage, "cannot flush " + path, std::strerror(errno),
              "check that the disk is healthy and has space");
}

class open_file {
 public:
  explicit open_file(const std::string& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  ~open_file() {
    if (number_ >= 0) ::close(number_);
  }

  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

/// Renamed or removed meanwhile: who did that flushes what it is now.
bool is_gone(const open_file& file) {
  return file.number() < 0 && errno == ENOENT;
}

}  // namespace

result<void> sync_files(const std::vector<std::string>& paths) {
  std::set<std::string> folders;
  // All writes are begun before the first is waited for.
  for (const std::string& path : paths) {
    const open_file file(path);
    if (file.number() >= 0) ::sync_file_range(file.number(), 0, 0, SYNC_FILE_RANGE_WRITE);
    folders.insert(apps::folder_of(path));
  }
  for (const std::string& path : paths) {
    const open_file file(path);
    if (is_gone(file)) continue;
    if (file.number() < 0 || ::fdatasync(file.number()) != 0) return cannot_flush(path);
  }
  for (const std::string& folder : folders) {
    if (!apps::sync_folder(folder)) return cannot_flush(folder);
  }
  return {};
}

disk_flusher::disk_flusher(boost::asio::io_context& loop, sync how)
    : loop_(loop), how_(std::move(how)), thread_([this] { work(); }) {}

disk_flusher::~disk_flusher() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  news_.notify_one();
  thread_.join();
}

void disk_flusher::flush(std::string path, flushed then) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(path), std::move(then)});
  }
  news_.notify_one();
}

void disk_flusher::work() {
  for (;;) {
    auto together = std::make_shared<std::deque<entry>>();
    {
      std::unique_lock lock(mutex_);
      news_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
      if (is_ending_) return;
      together->swap(waiting_);
    }
    std::vector<std::string> paths;
    for (const entry& each : *together)
      paths.push_back(each.path);
    const auto outcome = how_(paths);
    boost::asio::post(loop_, [together, outcome] {
      for (const entry& each : *together)
        each.then(outcome);
    });
  }
}

}  // namespace troupe::gateway
