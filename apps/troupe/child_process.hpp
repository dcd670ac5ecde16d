#pragma once

// One process of a cluster, started beside this program's own file. The child tells over a pipe
// that it is ready, or why it cannot be, so that nobody guesses from elapsed time.
//
// Threading: one thread at a time. Errors: errc::internal when the system starts no process, else
// what the child said; errc::timeout.

#include <chrono>
#include <string>
#include <vector>

#include <sys/types.h>

#include "messages/error.hpp"

namespace troupe::apps {

struct process_plan {
  std::string name;
  std::string program;
  std::vector<std::string> arguments;
  std::string log_file;  ///< stdout and stderr are appended here
};

class child_process {
 public:
  static result<child_process> start(const process_plan& plan);

  child_process(child_process&& other) noexcept;
  child_process& operator=(child_process&& other) noexcept;
  /// Kills and reaps what still runs.
  ~child_process();

  [[nodiscard]] result<void> wait_ready(std::chrono::milliseconds deadline);

  /// Becomes readable when the process ended.
  [[nodiscard]] int end_descriptor() const { return pidfd_; }
  [[nodiscard]] pid_t process_id() const { return process_id_; }

  void ask_to_leave() const;
  /// Waits for the end, then kills. Gives the exit status, or 128 + signal.
  int reap(std::chrono::milliseconds deadline);

 private:
  child_process(pid_t process_id, int pidfd, int ready_pipe, std::string log_file);
  void release();

  pid_t process_id_ = -1;
  int pidfd_ = -1;
  int ready_pipe_ = -1;
  std::string log_file_;
};

}  // namespace troupe::apps
