#pragma once

// In which order the requests of all keys enter a sampler that takes a bounded number of sequences
// at once. Each key has a queue of its own; whose turn it is follows from the tokens that a key was
// given so far, as if all that wait were served side by side (start-time fair queueing: Goyal, Vin
// and Cheng, 1996). A key that had nothing waiting starts where the others are and gets no credit
// for its silence; and one that has nothing under way enters at once, so that a short request waits
// for nobody's long ones.
//
// Threading: a plain value, one owner. Units: sequences; tokens.
// Invariants: FAIR-1 of one key, jobs enter in order of arrival. FAIR-2 no more sequences are under
// way than the window, but for one job of each key.

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace troupe::gateway {

class fair_queue {
 public:
  struct job {
    std::uint64_t number = 0;
    std::uint64_t num_sequences = 1;
    double num_tokens = 1;  ///< what it may cost
  };

  explicit fair_queue(std::uint64_t window_sequences) : window_(window_sequences) {}

  void add(const std::string& key_id, const job& wanted);
  /// A job that was let in is over.
  void ended(std::uint64_t number);
  /// Takes out a job that waits, as if it had never come. False when it does not wait.
  bool withdraw(const std::string& key_id, std::uint64_t number);
  /// Jobs that enter now, in their order.
  [[nodiscard]] std::vector<std::uint64_t> next();
  [[nodiscard]] std::size_t num_waiting() const { return num_waiting_; }

 private:
  struct account {
    std::deque<std::pair<double, job>> waiting;  ///< with the virtual time at which it starts
    double finish = 0;                           ///< of the last job that was added
    std::size_t num_open = 0;
  };
  struct open_job {
    std::string key_id;
    std::uint64_t num_sequences = 0;
  };

  using accounts = std::map<std::string, account>;  ///< by key

  /// The end: none.
  [[nodiscard]] accounts::iterator first_that_may_enter();
  void close_if_idle(accounts::iterator own);

  std::uint64_t window_;
  std::uint64_t num_open_sequences_ = 0;
  std::size_t num_waiting_ = 0;
  double virtual_time_ = 0;
  accounts accounts_;
  std::map<std::uint64_t, open_job> open_;
};

}  // namespace troupe::gateway
