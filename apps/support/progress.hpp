#pragma once

// What a person sees of long work: one line that is redrawn on a terminal, one plain line per
// change elsewhere (logs, CI), nothing at all when the answer is to be read by a program.
//
// Threading: one thread at a time.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace troupe::apps {

enum class progress_mode : std::uint8_t { terminal = 0, plain = 1, silent = 2 };

/// What fits this stream.
[[nodiscard]] progress_mode progress_mode_of(std::FILE* stream);

/// "label [=====>    ]  12/80  detail", at most `width` characters.
[[nodiscard]] std::string progress_line(std::string_view label, std::uint64_t done,
                                        std::uint64_t total, std::string_view detail,
                                        std::size_t width);

class progress {
 public:
  progress(std::FILE* stream, progress_mode mode) : stream_(stream), mode_(mode) {}
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress() { finish_line(); }

  /// Work that is under way. Plain streams show the first, the last and every tenth part.
  void update(std::string_view label, std::uint64_t done, std::uint64_t total,
              std::string_view detail);

  /// Something that happened, on a line of its own.
  void event(std::string_view text);

 private:
  void finish_line();

  std::FILE* stream_;
  progress_mode mode_;
  std::string shown_label_;
  std::uint64_t shown_part_ = 0;
  std::size_t drawn_ = 0;
};

}  // namespace troupe::apps
