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
  double oldest_heartbeat_seconds = 0;  ///< of the sessions that live
};

class metrics {
 public:
  metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;
  ~metrics();

  /// Shows a route before its first call.
  void expect(const std::string& route);

  /// `route` is a pattern of the table, never a path: paths are the client's to choose.
  void answered(const std::string& route, unsigned status, std::chrono::duration<double> seconds);

  /// Refused before it was read, for its key or its rate: counted, not timed.
  void refused(const std::string& route, unsigned status);

  /// An operation of a model, from its arrival to its result; tokens it read.
  void op_done(const std::string& kind, std::chrono::duration<double> seconds, std::size_t tokens);
  void sampled(std::size_t prompt_tokens, std::size_t tokens);

  /// New weights of a deployment that went live: how long decoding stood still, and how far the
  /// sampler's logprobs lie from the trainer's on its probe.
  void synced(double pause_seconds, double gap_mean, double gap_max);

  [[nodiscard]] std::string text(const gauges& now);

 private:
  struct families;
  std::unique_ptr<families> families_;
};

}  // namespace troupe::gateway
