#pragma once

// The order of one run's operations on the client's side. One operation is under way at a time and
// the next leaves when it is answered, so that a refused one leaves no hole in the numbering; what
// was lost on the way is asked again under its number.
//
// Threading: `submit` from any thread; everything else in the connection's hub.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "apps/client/connection.hpp"
#include "messages/training.hpp"

namespace troupe::client {

struct submission {
  op_body body;
  std::string cursor;
  /// Told the answer and its number; may give an operation that goes before all others.
  std::function<std::optional<submission>(std::uint64_t seq_id, const result<op_reply>&)> done;
};

class training_session : public std::enable_shared_from_this<training_session> {
 public:
  training_session(std::shared_ptr<connection> link, run_info info, actors::training_run_actor run);

  void submit(submission next);

  [[nodiscard]] const run_info& info() const { return info_; }
  [[nodiscard]] const connection& link() const { return *link_; }
  [[nodiscard]] const actors::training_run_actor& run() const { return run_; }

 private:
  void send_next(hub_actor::pointer self);
  void send(hub_actor::pointer self, std::uint32_t attempt);
  void answered(hub_actor::pointer self, const result<op_reply>& reply);
  void refused(hub_actor::pointer self, const error& e);

  std::shared_ptr<connection> link_;
  run_info info_;
  actors::training_run_actor run_;
  std::uint64_t next_seq_id_;
  std::deque<submission> waiting_;
  std::optional<submission> current_;
};

}  // namespace troupe::client
