#include "config/failpoint.hpp"

#ifdef TROUPE_FAILPOINTS

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <list>
#include <string>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace troupe::config {
namespace {

struct armed_point {
  std::string text;
  std::string phase;
  bool by_op = false;
  std::uint64_t wanted = 1;
  int signal = SIGKILL;
  std::atomic<std::uint64_t> hits = 0;
};

std::list<armed_point>& armed_points() {
  static std::list<armed_point> points;
  return points;
}

void arm_one(std::string_view text, std::string_view node) {
  const auto colon = text.find(':');
  const auto at = text.find('@');
  const auto mark = text.find_first_of("#=");
  if (colon == text.npos || at == text.npos || mark == text.npos) return;
  if (text.substr(0, colon) != node) return;
  auto& point = armed_points().emplace_back();
  point.text = text;
  point.signal = text.substr(colon + 1, at - colon - 1) == "stop" ? SIGSTOP : SIGKILL;
  point.phase = text.substr(at + 1, mark - at - 1);
  point.by_op = text[mark] == '=';
  std::from_chars(text.data() + mark + 1, text.data() + text.size(), point.wanted);
}

/// False when another process made the mark before.
bool leave_mark(const std::string& text) {
  const char* folder = std::getenv("TROUPE_FAILPOINT_FOLDER");
  if (folder == nullptr) return true;
  const int file =
      ::open((std::string(folder) + "/" + text).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
  if (file >= 0) ::close(file);
  return file >= 0;
}

}  // namespace

void arm_failpoints(std::string_view node) {
  const char* text = std::getenv("TROUPE_FAILPOINT");
  if (text == nullptr) return;
  std::string_view rest(text);
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    arm_one(rest.substr(0, comma), node);
    rest = comma == rest.npos ? std::string_view() : rest.substr(comma + 1);
  }
}

void failpoint(std::string_view phase, std::uint64_t number) {
  for (armed_point& point : armed_points()) {
    if (point.phase != phase) continue;
    const bool is_hit = point.by_op ? number == point.wanted : ++point.hits == point.wanted;
    if (!is_hit) continue;
    if (leave_mark(point.text) || point.by_op) ::kill(::getpid(), point.signal);
  }
}

}  // namespace troupe::config

#else

namespace troupe::config {

void arm_failpoints(std::string_view) {}
void failpoint(std::string_view, std::uint64_t) {}

}  // namespace troupe::config

#endif
