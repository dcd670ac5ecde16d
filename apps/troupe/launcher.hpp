#pragma once

// The processes of a cluster on this machine: started in order, started again with growing pauses
// when they die, and ended in reverse order. A process that leaves with exit status 0 was asked to;
// when the control node does, the cluster is over.
//
// Threading: start, run and stop from one thread at a time; request_stop from any.
// Errors: those of the first process that cannot start; the others are ended.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/troupe/child_process.hpp"
#include "config/cluster_config.hpp"

namespace troupe::apps {

enum class launch_end : std::uint8_t { asked = 0, interrupted = 1, cluster_ended = 2 };

/// What to run for a cluster; the control node comes first. `data_folder` is absolute.
[[nodiscard]] std::vector<process_plan> plan_cluster(const config::cluster_config& cluster,
                                                     const std::string& data_folder,
                                                     const std::string& node_program);

/// Threads that compute in each process of a group on a machine with that many cores. Results do
/// not depend on them.
[[nodiscard]] std::uint32_t threads_of(const config::process_group& group, std::uint32_t num_cores);

/// The gateway of that cluster; it starts after all others.
[[nodiscard]] process_plan plan_gateway(const config::cluster_config& cluster,
                                        const std::string& data_folder,
                                        const std::string& gateway_program);

/// The pause before a process that died `deaths` times in a row starts again.
[[nodiscard]] std::chrono::milliseconds restart_pause(std::uint32_t deaths);

/// troupe-node beside the running program.
[[nodiscard]] result<std::string> find_node_program();

/// troupe-gateway beside the running program.
[[nodiscard]] result<std::string> find_gateway_program();

/// From here on SIGINT and SIGTERM are answered by a launcher's run() instead of ending this
/// process. Call before the first thread starts.
void take_signals();

class launcher {
 public:
  using event_listener = std::function<void(const std::string&)>;

  launcher(std::vector<process_plan> plans, event_listener listener);
  launcher(const launcher&) = delete;
  launcher& operator=(const launcher&) = delete;
  ~launcher();

  result<void> start();
  /// Watches and restarts until asked to stop, interrupted, or the cluster ended.
  launch_end run();
  void request_stop() const;
  void stop();

 private:
  using time_point = std::chrono::steady_clock::time_point;
  struct member {
    process_plan plan;
    std::optional<child_process> process;
    std::uint32_t deaths = 0;
    time_point started;
    std::optional<time_point> restart_at;
  };

  result<void> start_member(member& which);
  void member_ended(member& which, bool is_control);
  void restart_due();
  [[nodiscard]] int poll_timeout_ms() const;

  std::vector<member> members_;
  event_listener listener_;
  int stop_event_ = -1;
  int signals_ = -1;
  bool cluster_ended_ = false;
};

}  // namespace troupe::apps
