#pragma once

// Why a node's main thread wakes up: a signal of the system, or an actor that wants the process to
// end. Also tells whoever started the process that it is ready, or why not.
//
// Threading: `leave` from any thread, the rest from main. Make it before the first thread starts.

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace troupe::node {

class exit_signal {
 public:
  /// Ends this process when the one that started it ends, if it was started by a launcher.
  explicit exit_signal(int ready_descriptor);
  exit_signal(const exit_signal&) = delete;
  exit_signal& operator=(const exit_signal&) = delete;
  ~exit_signal();

  void tell_ready();
  void tell_failed(std::string_view reason);

  /// Empty: the node was asked to leave.
  void leave(std::string reason);

  /// Gives the reason of `leave`, or nothing after SIGTERM or SIGINT.
  std::optional<std::string> wait();

  /// Only `leave` counts: for what was begun because of a signal and has its own deadline.
  std::string wait_for_leave();

 private:
  void tell(std::string_view line);

  int ready_ = -1;
  int signals_ = -1;
  int wish_ = -1;
  std::mutex mutex_;
  std::string reason_;
};

}  // namespace troupe::node
