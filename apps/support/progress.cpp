#include "apps/support/progress.hpp"

#include <algorithm>

#include <unistd.h>

namespace troupe::apps {
namespace {

constexpr std::size_t bar_width = 24;
constexpr std::size_t line_width = 100;
constexpr std::uint64_t plain_parts = 10;

}  // namespace

progress_mode progress_mode_of(std::FILE* stream) {
  return ::isatty(::fileno(stream)) == 1 ? progress_mode::terminal : progress_mode::plain;
}

std::string progress_line(std::string_view label, std::uint64_t done, std::uint64_t total,
                          std::string_view detail, std::size_t width) {
  const std::uint64_t end = std::max<std::uint64_t>(total, 1);
  const double share = static_cast<double>(std::min(done, end)) / static_cast<double>(end);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(bar_width));
  std::string out(label);
  out += " [" + std::string(filled, '=') + std::string(bar_width - filled, ' ') + "] ";
  out += std::to_string(done) + "/" + std::to_string(total);
  if (!detail.empty()) out += "  " + std::string(detail);
  if (out.size() > width) out.resize(width);
  return out;
}

void progress::update(std::string_view label, std::uint64_t done, std::uint64_t total,
                      std::string_view detail) {
  if (mode_ == progress_mode::silent) return;
  if (label != shown_label_) {
    finish_line();
    shown_label_ = label;
    shown_part_ = 0;
  }
  const std::string line = progress_line(label, done, total, detail, line_width);
  if (mode_ == progress_mode::terminal) {
    const std::size_t blanks = drawn_ > line.size() ? drawn_ - line.size() : 0;
    std::fprintf(stream_, "\r%s%s", line.c_str(), std::string(blanks, ' ').c_str());
    drawn_ = line.size();
    if (done >= total) finish_line();
  } else {
    const std::uint64_t part = done * plain_parts / std::max<std::uint64_t>(total, 1) + 1;
    if (part == shown_part_) return;
    shown_part_ = part;
    std::fprintf(stream_, "%s\n", line.c_str());
  }
  std::fflush(stream_);
}

void progress::event(std::string_view text) {
  if (mode_ == progress_mode::silent) return;
  finish_line();
  std::fprintf(stream_, "%.*s\n", static_cast<int>(text.size()), text.data());
  std::fflush(stream_);
}

void progress::finish_line() {
  if (drawn_ > 0) std::fputc('\n', stream_);
  drawn_ = 0;
}

}  // namespace troupe::apps
