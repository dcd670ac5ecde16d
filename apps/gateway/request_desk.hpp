#pragma once

// The two steps that every request with a future goes through: find its repeat, or open a future
// and acknowledge it. What must survive the gateway and its machine is also logged and flushed, and
// a new gateway calls the handlers of what has no result yet once more, as if it had just arrived.
//
// Threading: the loop's thread; `place::placed` from any.
// Invariants: DESK-1 a repeat gets the first one's acknowledgement and starts nothing again. DESK-2
// nothing starts and nobody is told before the request is durable; requests start in the order in
// which they came.

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apps/gateway/disk_flusher.hpp"
#include "apps/gateway/future_table.hpp"
#include "apps/gateway/quota_ledger.hpp"
#include "apps/gateway/request_log.hpp"
#include "apps/gateway/router.hpp"

namespace troupe::gateway {

/// Samples are drawn again by their client when a gateway dies; nobody else repeats an operation.
enum class keeping : std::uint8_t { in_memory = 0, on_disk = 1 };

class request_desk {
 public:
  using starter = std::function<void(const std::string& request_id)>;

  /// What a handler says of a request that is answered by a future.
  struct asked {
    std::string repeat_key;  ///< what identifies a repeat; its body must be the same
    keeping where = keeping::on_disk;
    boost::json::object extra = {};  ///< for the acknowledgement
    /// Asked when the request is new: the number its operation will have; none: nobody can tell.
    std::function<std::uint64_t()> number = {};
  };

  request_desk(boost::asio::io_context& loop, future_table& futures, quota_ledger& quotas,
               std::string log_folder, const disk_flusher::sync& how = sync_files);

  /// Answers the request. A new one gets an id, and `start` is called with it before the answer
  /// leaves.
  void take(const call& from, asked wanted, const responder& respond, starter start);

  /// Of a file that an answer promises.
  void flush(std::string path, disk_flusher::flushed then) {
    requests_.flush(std::move(path), std::move(then));
  }

  [[nodiscard]] run_place place_of(const std::string& request_id) {
    return log_.place_of(request_id);
  }

  /// It was taken with keeping::on_disk.
  [[nodiscard]] bool is_logged(const std::string& request_id) { return log_.knows(request_id); }

  /// Takes over what an earlier gateway left.
  [[nodiscard]] result<void> restore(router& routes);

 private:
  struct repeat {
    std::string digest;
    std::string acknowledgement;
    std::string to_start = {};  ///< the request's id while its handler was not called yet
    /// Who asked while it was not durable yet; null once it is.
    std::shared_ptr<std::vector<responder>> waiting = {};
  };

  void take_again(repeat& known, const std::string& digest, const responder& respond,
                  const starter& start);
  void remember(const std::string& repeat_key, repeat entry);
  void keep(const call& from, const asked& wanted, const std::string& request_id, repeat entry,
            starter start);
  void forget(const std::string& repeat_key, const std::string& request_id);
  void start_again(router& routes, const logged_request& request);

  future_table& futures_;
  quota_ledger& quotas_;
  request_log log_;
  disk_flusher requests_;  ///< that clients wait for
  disk_flusher results_;
  std::unordered_map<std::string, repeat> repeats_;
  std::deque<std::string> repeat_order_;
};

}  // namespace troupe::gateway
