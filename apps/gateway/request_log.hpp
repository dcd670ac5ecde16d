#pragma once

// Requests that were acknowledged, on disk until their result need not be fetched any more, so that
// a gateway that is killed goes on where it stood: the next one asks the cluster again for what has
// no result yet, under the numbers it was asked under before, and the cluster applies it once.
// One file per request and one per result: what is finished with is unlinked, nothing is compacted.
//
//   <folder>/<number>-<request>.<run seq>.open    JSON line, then the body
//   <folder>/<number>-<request>.done              JSON line, then the result
//
// The run seq is the number under which the run is or will be asked; 0 as long as nobody can tell.
// It is usually known when the request arrives, so that one flush makes all of it durable; another
// one that it gets later is flushed at once. A result replaces its request when it is durable, too.
//
// Threading: `placed` from any thread, everything else from one.
// Errors: errc::storage. A file is whole or absent after the process died, and whole or ignored
// after power loss.
// Invariants: LOG-1 an .open file is durable before the acknowledgement leaves. LOG-2 a run's
// number is durable in the name before the run sees the request. LOG-3 an .open file goes when its
// .done file is durable.

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "apps/gateway/reply.hpp"

namespace troupe::gateway {

struct logged_request {
  std::uint64_t number = 0;  ///< in order of arrival
  std::string request_id;
  std::string key_id;
  std::string repeat_key;  ///< what identifies a repeat
  std::string digest;      ///< of the body
  std::string path;
  std::string content_type;
  std::string acknowledgement;
  std::string body;           ///< empty once there is a result
  std::uint64_t run_seq = 0;  ///< 0: not known
  std::optional<reply> outcome;
};

/// Under which number a run was asked, and whom to tell a new one.
struct run_place {
  std::uint64_t run_seq = 0;  ///< or will be, unless earlier ones are refused; 0: not known
  std::function<void(std::uint64_t run_seq)> placed;
};

class request_log {
 public:
  explicit request_log(std::string folder) : folder_(std::move(folder)) {}

  /// What an earlier process left, in order of arrival; results older than they are kept are
  /// dropped.
  [[nodiscard]] result<std::vector<logged_request>> open();

  /// The file that must be flushed before anybody hears of the request.
  [[nodiscard]] result<std::string> taken(const logged_request& request);
  void placed(const std::string& request_id, std::uint64_t run_seq);
  /// The file that must be flushed before `settled`; empty when nothing was written.
  [[nodiscard]] std::string resolved(const std::string& request_id, const reply& outcome);
  void settled(const std::string& request_id);
  void forget(const std::string& request_id);

  [[nodiscard]] bool knows(const std::string& request_id);

  /// The request's `placed` may be called as long as the log lives.
  [[nodiscard]] run_place place_of(const std::string& request_id);

 private:
  struct place {
    std::uint64_t number = 0;
    std::uint64_t run_seq = 0;
    bool is_done = false;     ///< has a .done file
    bool is_settled = false;  ///< has no .open file any more
  };

  [[nodiscard]] std::string open_path(const std::string& request_id, const place& at) const;
  [[nodiscard]] std::string done_path(const std::string& request_id, const place& at) const;
  [[nodiscard]] std::optional<logged_request> read(const std::string& file_name);

  std::string folder_;
  std::mutex mutex_;  ///< guards what follows
  std::map<std::string, place> places_;
  std::uint64_t last_number_ = 0;
};

}  // namespace troupe::gateway
