#include "apps/troupe/child_process.hpp"

#include <array>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace troupe::apps {
namespace {

constexpr int ready_descriptor = 3;
constexpr std::size_t ready_text_max = 8192;

bool is_readable(int descriptor, std::chrono::milliseconds deadline) {
  pollfd waiting{descriptor, POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(deadline.count())) == 1;
}

/// The environment's own array is the only way to pass it on unchanged.
int spawn(pid_t& child, const process_plan& plan, int ready_write) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, plan.log_file.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  posix_spawn_file_actions_adddup2(&actions, ready_write, ready_descriptor);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> words{plan.program};
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  words.push_back("--ready-descriptor=" + std::to_string(ready_descriptor));
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int problem =
      ::posix_spawn(&child, plan.program.c_str(), &actions, &attributes, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return problem;
}

}  // namespace

child_process::child_process(pid_t process_id, int pidfd, int ready_pipe, std::string log_file)
    : process_id_(process_id),
      pidfd_(pidfd),
      ready_pipe_(ready_pipe),
      log_file_(std::move(log_file)) {}

child_process::child_process(child_process&& other) noexcept
    : process_id_(std::exchange(other.process_id_, -1)),
      pidfd_(std::exchange(other.pidfd_, -1)),
      ready_pipe_(std::exchange(other.ready_pipe_, -1)),
      log_file_(std::move(other.log_file_)) {}

child_process& child_process::operator=(child_process&& other) noexcept {
  if (this != &other) {
    release();
    process_id_ = std::exchange(other.process_id_, -1);
    pidfd_ = std::exchange(other.pidfd_, -1);
    ready_pipe_ = std::exchange(other.ready_pipe_, -1);
    log_file_ = std::move(other.log_file_);
  }
  return *this;
}

child_process::~child_process() {
  release();
}

void child_process::release() {
  if (process_id_ > 0) reap(std::chrono::milliseconds(0));
  if (ready_pipe_ >= 0) ::close(std::exchange(ready_pipe_, -1));
}

result<child_process> child_process::start(const process_plan& plan) {
  std::array<int, 2> ready{};
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) {
    return fail(errc::internal, "cannot make a pipe", std::strerror(errno), "raise ulimit -n");
  }
  pid_t child = -1;
  const int problem = spawn(child, plan, ready[1]);
  ::close(ready[1]);
  if (problem != 0) {
    ::close(ready[0]);
    return fail(errc::internal, "cannot start " + plan.program, std::strerror(problem),
                "build it, and check that " + plan.log_file + " is writable");
  }
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  if (pidfd < 0) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    return fail(errc::unsupported, "cannot watch a process", std::strerror(errno),
                "Linux 5.3 or newer is needed");
  }
  return child_process(child, pidfd, ready[0], plan.log_file);
}

result<void> child_process::wait_ready(std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  std::string said;
  while (said.empty() || said.back() != '\n') {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !is_readable(ready_pipe_, left)) {
      return fail(errc::timeout, "a process of the cluster did not become ready",
                  "the machine is very busy", "see " + log_file_);
    }
    std::array<char, 512> piece{};
    const ssize_t count = ::read(ready_pipe_, piece.data(), piece.size());
    if (count <= 0 || said.size() > ready_text_max) break;
    said.append(piece.data(), static_cast<std::size_t>(count));
  }
  ::close(std::exchange(ready_pipe_, -1));
  if (said == "ready\n") return {};
  if (said.empty()) {
    return fail(errc::peer_lost, "a process of the cluster ended while it started",
                "a library is missing, or it crashed", "see " + log_file_);
  }
  said.pop_back();
  return fail(errc::storage, said, "", "see " + log_file_);
}

void child_process::ask_to_leave() const {
  if (process_id_ > 0) ::kill(process_id_, SIGTERM);
}

int child_process::reap(std::chrono::milliseconds deadline) {
  if (process_id_ <= 0) return 0;
  if (!is_readable(pidfd_, deadline)) ::kill(process_id_, SIGKILL);
  int status = 0;
  while (::waitpid(process_id_, &status, 0) < 0 && errno == EINTR) {
  }
  process_id_ = -1;
  ::close(std::exchange(pidfd_, -1));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace troupe::apps
