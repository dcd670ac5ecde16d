#pragma once

// The order of one run's operations on the client's side. One operation is under way at a time and
// the next leaves when it is answered, so that a refused one leaves no hole in the numbering; what
// was lost on the way is asked again under its number. When the control node was started again the
// session takes its run over once more and goes on where it stood. While a custom loss is computed,
// another custom pass goes on, unless the cluster cannot keep two and computed a forward again.
//
// Threading: `submit` from any thread; everything else in the connection's hub.
// Invariants: SESSION-1 an operation keeps its number through every retry, so it applies once.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "apps/client/connection.hpp"
#include "apps/client/submission_queue.hpp"
#include "messages/training.hpp"

namespace troupe::client {

class training_session final : public link_listener,
                               public std::enable_shared_from_this<training_session> {
 public:
  /// Also tells the link whom to call when the control node comes back.
  static std::shared_ptr<training_session> start(const std::shared_ptr<connection>& link,
                                                 run_info info, actors::training_run_actor run);
  training_session(const std::shared_ptr<connection>& link, run_info info,
                   actors::training_run_actor run);

  void submit(submission next);
  /// Answered when no operation of an earlier client is under way any more.
  future<run_info> settled();

  [[nodiscard]] const run_info& info() const { return info_; }
  [[nodiscard]] const connection& link() const { return *link_; }
  [[nodiscard]] actors::training_run_actor run() const;

  void link_lost(hub_actor::pointer self) override;
  void link_restored(hub_actor::pointer self, const result<void>& outcome) override;
  void link_closed(hub_actor::pointer self) override;

 private:
  void send_next(hub_actor::pointer self);
  void start(hub_actor::pointer self, submission next);
  void send(hub_actor::pointer self, std::uint32_t attempt);
  void answered(hub_actor::pointer self, const result<op_reply>& reply);
  void refused(hub_actor::pointer self, const error& e);
  void take_over(hub_actor::pointer self, std::uint32_t attempt);
  void ask_settled(hub_actor::pointer self, const promise<run_info>& answer);
  void give_up(hub_actor::pointer self, const error& e);

  std::shared_ptr<connection> link_;
  run_info info_;
  mutable std::mutex run_mutex_;
  actors::training_run_actor run_;
  std::uint64_t client_epoch_;
  std::uint64_t next_seq_id_;
  std::uint64_t current_seq_id_ = 0;
  std::uint64_t link_number_ = 0;  ///< answers of an older link are ignored
  bool is_linked_ = true;
  bool may_overlap_ = true;
  submission_queue waiting_;
  std::optional<submission> current_;
};

}  // namespace troupe::client
