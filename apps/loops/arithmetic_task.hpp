#pragma once

// Questions whose answers a program can check: "max(4,7,2,9)=" wants "9" and a line end.
//
// The demonstrations teach only the form: they answer with any of the four digits. The rule itself
// is found from the reward alone, which is what reinforcement learning is for; a model that learned
// the demonstrations perfectly is right about every third time.
//
// A question is held out when its hash says so, whoever draws it, so that training never sees what
// scoring asks.
//
// Threading: plain values. Invariants: TASK-1 no question is in both splits.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::loops {

enum class task_split : std::uint8_t { train = 0, held_out = 1 };

struct question {
  std::string prompt;
  std::string answer;  ///< with the line end that closes it

  bool operator==(const question&) const = default;
};

/// A deterministic stream of questions of one split.
class arithmetic_task {
 public:
  arithmetic_task(std::uint64_t seed, task_split split) : state_(seed), split_(split) {}

  question next();

  /// An answer of the right form that is right only by chance.
  std::string demonstration(const question& asked);

 private:
  std::uint64_t draw(std::uint64_t bound);

  std::uint64_t state_;
  task_split split_;
};

[[nodiscard]] task_split split_of(std::string_view prompt);

/// 1 for the exact answer, else 0.
[[nodiscard]] double reward_of(const question& asked, std::string_view answer);

}  // namespace troupe::loops
