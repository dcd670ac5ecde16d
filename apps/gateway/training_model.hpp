#pragma once

// One model that a client trains: a run of the cluster, and the order of what was asked of it.
// Requests run one after the other in the order of their arrival; those that need a look-up first
// keep their place.
//
// Threading: the loop's thread. Errors: in the callbacks; a model whose run could not be made fails
// everything that was asked of it.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "apps/client/training_session.hpp"
#include "apps/gateway/cluster_link.hpp"
#include "apps/gateway/model_book.hpp"
#include "apps/gateway/request_log.hpp"

namespace troupe::gateway {

class training_model : public std::enable_shared_from_this<training_model> {
 public:
  using answer = std::function<void(result<op_reply>)>;

  training_model(cluster_link& link, model_record record);

  [[nodiscard]] const model_record& record() const { return record_; }

  /// Makes the run, or takes over the one that is there. First of all calls.
  void start(std::uint32_t ranks);
  void await_start(std::function<void(result<void>)> then);

  /// The number that the operation of a request which just came will have, unless one before it is
  /// refused; 0: nobody can tell. The request is submitted later, or skipped.
  [[nodiscard]] std::uint64_t promise_number();
  void skip();

  void submit(op_body body, run_place place, answer then);
  /// `find` is asked when the turn of this request has come.
  void load(std::function<result<checkpoint_id>()> find, optimizer_state optimizer, run_place place,
            answer then);

  /// Gives the run's nodes back once everything asked so far is done; the next request takes some.
  void park(std::function<void(result<run_info>)> then);

  [[nodiscard]] std::size_t num_queued() const { return queue_.size(); }

 private:
  using task = std::function<void()>;

  void enqueue(task next);
  void enqueue_op(task next);
  void op_ended(const result<op_reply>& reply);
  void finished();
  [[nodiscard]] result<void> check(const op_body& body) const;
  void run_op(op_body body, run_place place, answer then);
  void ask_to_park(const std::function<void(result<run_info>)>& then, std::uint32_t attempt);
  void taken(result<std::pair<run_info, actors::training_run_actor>> run);

  cluster_link& link_;
  model_record record_;
  std::deque<task> queue_;
  boost::asio::steady_timer pause_;
  bool is_busy_ = false;
  std::uint64_t next_number_ = 0;   ///< of the first operation that is not answered; 0: not known
  std::uint64_t num_promised_ = 0;  ///< requests that are not submitted yet
  std::uint64_t num_submitted_ = 0;
  std::optional<error> failure_;
  std::shared_ptr<client::training_session> session_;
};

}  // namespace troupe::gateway
