#pragma once

// The deployment that answers the gateway's samples for one base model, whichever weights they ask
// for: the base's own, or any checkpoint that a run published. The deployment is made at the first
// request and brought to the wanted weights between requests. Adapters stand beside the base's own
// weights, so requests for any number of them run together and nothing is switched.
//
// A cancelled request gives back what it holds wherever it is: its place in a queue here, or its
// place in a sampler's batch with its keys and values.
//
// Threading: the loop's thread. Errors: in the callbacks; errc::no_capacity when no sampler node is
// idle; errc::cancelled.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "apps/gateway/cluster_link.hpp"
#include "apps/gateway/fair_queue.hpp"
#include "apps/gateway/sample_rotation.hpp"
#include "messages/status.hpp"
#include "messages/weight_sync.hpp"

namespace troupe::gateway {

class sample_pool : public std::enable_shared_from_this<sample_pool> {
 public:
  using answer = std::function<void(result<sample_reply>)>;

  struct asker {
    std::string key_id;
    std::string session_id;  ///< with which its requests end
    std::string request_id;
  };

  /// `synced` is told how long decoding stood still for new weights.
  sample_pool(cluster_link& link, std::string directory,
              std::function<void(const sync_reply&)> synced);

  /// `weights` is empty for the base's own. Requests of all keys take their turns.
  void sample(asker who, const checkpoint_id& weights, sample_request request, answer then);

  /// False for a request that is not under way here.
  bool cancel(const std::string& request_id);
  void cancel_session(const std::string& session_id);

  /// Deployments do not outlive the control node: what is open is asked of a new one.
  void control_lost();
  void control_restored(const result<void>& outcome);

  [[nodiscard]] std::size_t num_open() const { return jobs_.size(); }

 private:
  struct job {
    asker who;
    std::string weights;     ///< that must be live for it
    sample_request request;  ///< with a ticket once the deployment has it
    answer then;
    bool has_entered = false;   ///< it is in the rotation
    bool is_cancelled = false;  ///< its answer is on the way
  };
  using handle = actors::deployment_actor;
  using found_deployment = result<std::pair<deployment_info, handle>>;

  void learn_kind(const std::string& weights);
  void add(std::uint64_t number);
  void let_in();
  void go_on();
  void end(std::uint64_t number, result<sample_reply> outcome);
  void cancel(std::uint64_t number);
  void start(std::uint64_t number);
  void switch_to(const std::string& weights);
  void create(const std::string& weights);
  void create_now(const std::string& weights);
  void opened(const std::string& weights, found_deployment found);
  void sync(const std::string& weights, std::uint32_t attempt);
  void start_over();
  void switch_ended(const std::string& weights, const result<void>& outcome);

  cluster_link& link_;
  std::string directory_;
  std::function<void(const sync_reply&)> synced_;
  deployment_id id_;
  std::optional<handle> deployment_;
  checkpoint_id live_;
  boost::asio::steady_timer pause_;
  fair_queue queue_;
  sample_rotation rotation_;
  std::map<std::uint64_t, job> jobs_;
  std::map<std::string, std::uint64_t> numbers_;  ///< of jobs, by request
  std::map<std::string, bool> is_adapter_;        ///< of the weights that were asked for so far
  std::map<std::string, std::vector<std::uint64_t>> unknown_;  ///< jobs, until their kind is known
  std::uint64_t next_job_ = 0;
  std::uint64_t last_ticket_ = 0;
  std::uint64_t generation_ = 0;  ///< answers of an older control node are ignored
  bool is_held_ = false;
};

}  // namespace troupe::gateway
