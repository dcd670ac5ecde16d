#pragma once

// A cluster of real processes in a folder of its own, and loops that train on it, for benchmarks
// that kill things: all times are the client's own.
//
// Units: milliseconds unless a name says otherwise. Threading: one thread. Errors: whatever fails,
// or is not answered within `answer_deadline`, ends the benchmark with its reason.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/client/service_client.hpp"
#include "apps/troupe/launcher.hpp"

namespace troupe::bench {

inline constexpr std::chrono::seconds answer_deadline{120};

struct model_shape {
  std::uint32_t hidden = 64;
  std::uint32_t layers = 2;
  std::size_t rows = 8;
  std::size_t row_tokens = 64;
};

/// One run of two ranks.
class training_loop {
 public:
  training_loop(client::training_client training, const model_shape& shape)
      : training_(std::move(training)), shape_(shape) {}

  /// One pass and one step; its time.
  double step();
  /// The first op after a kill: its time is what the loop feels.
  double pass();
  std::vector<double> steps_for(double seconds);

  /// Those since the last call; a control node that was started again counts anew.
  [[nodiscard]] std::vector<run_event> new_events();
  [[nodiscard]] std::uint64_t num_steps() const { return num_steps_; }

 private:
  client::training_client training_;
  model_shape shape_;
  std::uint64_t num_steps_ = 0;
  std::uint64_t last_event_ = 0;
};

class stage {
 public:
  stage(const std::filesystem::path& programs, const model_shape& shape,
        std::uint32_t num_trainers);
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;
  ~stage();

  /// 0 steps: snapshots by what they cost and how often nodes are lost.
  training_loop start(const std::string& name, std::uint64_t snapshot_every_steps);

  /// One rank of that run, by chance.
  void kill_rank(const std::string& run, std::uint64_t chance);
  void kill_control();
  [[nodiscard]] bool is_whole();
  /// Trains on until every node is back.
  void recover_fully(training_loop& loop);

 private:
  model_shape shape_;
  std::string folder_ = "/tmp/troupe-recovery-XXXXXX";
  std::size_t num_nodes_;
  std::unique_ptr<apps::launcher> processes_;
  std::thread watcher_;
  std::unique_ptr<client::service_client> service_;
};

/// The number that follows `name` in an event's detail; 0: it has none.
[[nodiscard]] double number_after(const run_event& event, const std::string& name);

}  // namespace troupe::bench
