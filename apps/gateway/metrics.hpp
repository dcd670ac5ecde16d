#pragma once

// What an operator watches, in Prometheus' text form: requests and how they ended, how long each
// took, and how much waits.
//
// Threading: one owner. Units: seconds.

#include <chrono>
#include <memory>
#include <string>

namespace troupe::gateway {

struct gauges {
  std::size_t sessions = 0;
  std::size_t open_futures = 0;
  std::size_t waiting_polls = 0;
  std::size_t samples = 0;
};

class metrics {
 public:
  metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;
  ~metrics();

  /// `route` is a pattern of the table, never a path: paths are the client's to choose.
  void answered(const std::string& route, unsigned status, std::chrono::duration<double> seconds);

  [[nodiscard]] std::string text(const gauges& now);

 private:
  struct families;
  std::unique_ptr<families> families_;
};

}  // namespace troupe::gateway
