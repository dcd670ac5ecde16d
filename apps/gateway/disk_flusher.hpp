#pragma once

// Brings files to disk beside the loop, many at a time: what is asked for while a flush is under
// way is one flush later. So an answer can wait for its request to be durable, and a hundred
// answers wait hardly longer than one.
//
// Threading: `flush` from the loop's thread, callbacks there, in order of the calls; a thread of
// its own does the waiting. Errors: errc::storage, to every caller of the flush that failed.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "messages/error.hpp"

namespace troupe::gateway {

/// Contents and names of these files, durable.
[[nodiscard]] result<void> sync_files(const std::vector<std::string>& paths);

class disk_flusher {
 public:
  using sync = std::function<result<void>(const std::vector<std::string>&)>;
  using flushed = std::function<void(const result<void>&)>;

  explicit disk_flusher(boost::asio::io_context& loop, sync how = sync_files);
  disk_flusher(const disk_flusher&) = delete;
  disk_flusher& operator=(const disk_flusher&) = delete;
  /// What is not flushed by then is not called back.
  ~disk_flusher();

  void flush(std::string path, flushed then);

 private:
  struct entry {
    std::string path;
    flushed then;
  };

  void work();

  boost::asio::io_context& loop_;
  sync how_;
  std::mutex mutex_;  ///< guards what follows
  std::condition_variable news_;
  std::deque<entry> waiting_;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace troupe::gateway
