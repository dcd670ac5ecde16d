#include "apps/node/exit_signal.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace troupe::node {

exit_signal::exit_signal(int ready_descriptor) : ready_(ready_descriptor) {
  if (ready_ >= 0) ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signals_ = ::signalfd(-1, &signals, SFD_CLOEXEC);
  wish_ = ::eventfd(0, EFD_CLOEXEC);
}

exit_signal::~exit_signal() {
  ::close(signals_);
  ::close(wish_);
  if (ready_ >= 0) ::close(ready_);
}

void exit_signal::tell(std::string_view line) {
  if (ready_ < 0) return;
  std::string text(line);
  std::replace(text.begin(), text.end(), '\n', ' ');
  text += '\n';
  [[maybe_unused]] const ssize_t written = ::write(ready_, text.data(), text.size());
  ::close(std::exchange(ready_, -1));
}

void exit_signal::tell_ready() {
  tell("ready");
}

void exit_signal::tell_failed(std::string_view reason) {
  tell(reason);
}

void exit_signal::leave(std::string reason) {
  {
    const std::lock_guard lock(mutex_);
    reason_ = std::move(reason);
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wish_, &one, sizeof one);
}

std::optional<std::string> exit_signal::wait() {
  std::array<pollfd, 2> watched{{{signals_, POLLIN, 0}, {wish_, POLLIN, 0}}};
  while (::poll(watched.data(), watched.size(), -1) <= 0) {
  }
  if (watched[1].revents == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  return reason_;
}

std::string exit_signal::wait_for_leave() {
  pollfd watched{wish_, POLLIN, 0};
  while (::poll(&watched, 1, -1) <= 0) {
  }
  const std::lock_guard lock(mutex_);
  return reason_;
}

}  // namespace troupe::node
