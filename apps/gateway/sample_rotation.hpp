#pragma once

// Which sample requests run when several weights share one deployment, which serves one at a time:
// those of the live weights together; when somebody waits for others, no more of the live ones are
// let in, and the switch happens when the last has ended. So a request always sees one version of
// weights, and nobody waits behind an endless stream of somebody else's.
//
// Threading: a plain value, one owner.
// Invariants: ROTATE-1 nothing runs during a switch. ROTATE-2 jobs of one weights start in order of
// arrival. ROTATE-3 a job that waits for other weights stops later jobs of the live ones.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace troupe::gateway {

class sample_rotation {
 public:
  struct decision {
    std::vector<std::uint64_t> start;
    std::optional<std::string> switch_to;  ///< answer with `switched` or `switch_failed`
  };

  void add(std::string weights, std::uint64_t job) { waiting_.emplace_back(weights, job); }
  void ended() { --num_running_; }
  /// Takes out a job that waits. False when it does not wait.
  bool withdraw(std::uint64_t job);
  void switched(std::string weights);
  /// Gives the jobs that cannot run.
  [[nodiscard]] std::vector<std::uint64_t> switch_failed(const std::string& weights);

  /// What to do in the state reached; call after every change until it says nothing.
  [[nodiscard]] decision next();

  [[nodiscard]] std::size_t num_waiting() const { return waiting_.size(); }
  [[nodiscard]] std::size_t num_running() const { return num_running_; }

 private:
  std::vector<std::uint64_t> take(const std::string& weights);

  std::optional<std::string> live_;
  bool is_switching_ = false;
  bool is_fresh_ = false;  ///< just switched: take all that wait for these weights
  std::size_t num_running_ = 0;
  std::deque<std::pair<std::string, std::uint64_t>> waiting_;
};

}  // namespace troupe::gateway
