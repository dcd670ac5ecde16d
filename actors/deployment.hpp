#pragma once

// One served model: opens a replica on an idle sampler node, routes requests to it, and lets one
// weight sync run at a time. A replica that dies is replaced and catches up with the live version
// before it serves.
//
// Owner: job_manager. Deadlines: capacity, sample, sync. Threading: an actor, never blocks.
// Errors: errc::no_capacity, errc::busy (a sync runs already). Requests of a replica that died are
// given to its successor: their seeds make the answer the same.
// Invariants: DEPLOY-1 the version grows by one per committed sync and names one checkpoint.

#include <deque>
#include <map>
#include <utility>

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

struct deployment_config {
  deployment_record record;  ///< version 0, or what was live before the control node ended
  model_config model;
  checkpoint_store_actor store;
  job_manager_actor manager;
};

using deployment_self = deployment_actor::extend<caf::result<void>(tick)>;

class deployment_state {
 public:
  static constexpr const char* name = "deployment";

  deployment_state(deployment_self::pointer self, deployment_config config);
  /// The replica ends with its deployment.
  ~deployment_state();
  deployment_self::behavior_type make_behavior();

 private:
  using sample_promise = caf::typed_response_promise<sample_reply>;

  void open_replica();
  void opened(const node_id& node, const replica_status& status, const sampler_actor& replica);
  void open_failed(const error& reason);
  caf::result<sample_reply> sample(const sample_request& request);
  void forward(const sample_request& request, sample_promise promise);
  void replica_lost();
  caf::result<sync_reply> sync(const sync_request& request);
  void remember(const sync_reply& reply, caf::typed_response_promise<sync_reply> promise);
  void catch_up();
  void serve();
  [[nodiscard]] deployment_info info() const;

  deployment_self::pointer self_;
  deployment_config config_;
  deployment_id id_;
  std::string hosting_;
  sampler_actor replica_;
  node_id node_;
  bool serving_ = false;
  bool syncing_ = false;
  std::uint64_t version_ = 0;
  checkpoint_id checkpoint_;
  node_agent_actor agent_;  ///< of the node that is opening a replica
  std::uint64_t num_forwarded_ = 0;
  std::map<std::uint64_t, std::pair<sample_request, sample_promise>> active_;
  std::deque<std::pair<sample_request, sample_promise>> waiting_;
};

[[nodiscard]] deployment_actor spawn_deployment(caf::actor_system& system,
                                                deployment_config config);

}  // namespace troupe::actors
