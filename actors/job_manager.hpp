#pragma once

// The control node's head: knows the nodes and what they host, owns runs and deployments, brings
// runs back after a restart, and places shards and samplers on idle nodes. Watches the client of
// each run: one that is gone for long makes its run give the nodes back (logic/run_presence.hpp).
//
// Owner: node main. Deadlines: control; waiting for idle nodes: capacity; for a turn: turn.
// Threading: an actor, never blocks, except for reading a model's headers when a run is created.
// Errors: errc::already_exists, errc::not_found, errc::no_capacity, errc::bad_model and others of
// open_model.
// Invariants: JOBS-1 a run's record is durable before the run exists. JOBS-2 a preempted node never
// counts as a run's failure.

#include <deque>
#include <functional>
#include <map>
#include <set>

#include <caf/all.hpp>

#include "actors/logic/node_registry.hpp"
#include "actors/logic/run_presence.hpp"
#include "actors/logic/work_turns.hpp"
#include "actors/protocol/type_ids.hpp"
#include "actors/runtime/clock.hpp"

namespace troupe::actors {

struct job_manager_config {
  std::string cluster;
  std::string storage_root;
  std::string join_token;  ///< keys the ranks' tokens too
  std::uint64_t snapshot_every_steps = 20;
  std::chrono::milliseconds park_idle_runs_after{0};  ///< 0: never
  checkpoint_store_actor store;
  std::function<void()> on_shutdown;  ///< called once every node was told to leave
};

using job_manager_self = job_manager_actor::extend<caf::result<void>(tick)>;

class job_manager_state {
 public:
  static constexpr const char* name = "job_manager";

  job_manager_state(job_manager_self::pointer self, job_manager_config config);
  /// What the manager owns ends with it.
  ~job_manager_state();
  job_manager_self::behavior_type make_behavior();

 private:
  using run_promise = caf::typed_response_promise<run_info, training_run_actor>;
  using deployment_promise = caf::typed_response_promise<deployment_info, deployment_actor>;
  using grant_promise = caf::typed_response_promise<node_grant>;
  struct waiting_grant {
    acquire_nodes request;
    grant_promise promise;
    time_point since;
  };
  template <class Handle, class Info>
  struct owned {
    Handle actor;
    Info info;
  };

  caf::result<run_info, training_run_actor> create_run(const create_run_request& request);
  caf::result<run_info, training_run_actor> attach_run(const attach_run_request& request);
  /// Hands a question about a run on to it.
  template <class Answer, class Request>
  caf::result<Answer> ask_run(const Request& request);
  void start_run(const run_record& record, const model_config& model);
  caf::result<deployment_info, deployment_actor> create_deployment(
      const create_deployment_request& request);
  /// Of the message at hand, as long as no promise was made for its answer: that takes its sender.
  [[nodiscard]] caf::actor_addr client_at_hand() const;
  void watch_client(const run_id& run, const caf::actor_addr& client);
  void went_down(const caf::actor_addr& source);
  void run_did_change(const run_info& info);
  void park_idle_runs();
  caf::result<done> remove_deployment(const remove_deployment_request& request);
  caf::result<deployment_info> scale_deployment(const scale_deployment_request& request);
  caf::result<done> join(const attach_request& request, const node_agent_actor& agent);
  void node_left(const node_id& node);
  caf::result<done> node_leaving(const node_leaving_request& request);
  void let_leave();
  [[nodiscard]] std::vector<training_run_actor> runs_among(
      const std::vector<std::string>& hosting) const;
  caf::result<node_grant> acquire(const acquire_nodes& request);
  void release(const std::string& hosting);
  [[nodiscard]] std::string machine_of(const node_id& node) const;
  caf::result<done> take(const take_turn& request);
  void end_turn_of(const std::string& hosting);
  void grant_waiting();
  [[nodiscard]] std::optional<node_grant> try_grant(const acquire_nodes& request);
  void start_deployment(const deployment_record& record, const model_config& model);
  void restore_runs();
  void restore_deployments();
  void check_leases();
  [[nodiscard]] cluster_status status() const;
  void end_owned();
  caf::result<done> shut_down(const shutdown_request& request);
  [[nodiscard]] std::uint64_t now_ms() const;

  job_manager_self::pointer self_;
  job_manager_config config_;
  logic::node_registry nodes_;
  std::map<node_id, node_agent_actor> agents_;
  std::map<run_id, owned<training_run_actor, run_info>> runs_;
  std::map<deployment_id, owned<deployment_actor, deployment_info>> deployments_;
  logic::run_presence presence_;
  std::set<caf::actor_addr> clients_;  ///< those that are watched
  std::deque<waiting_grant> waiting_;
  logic::work_turns turns_;
  std::map<std::string, caf::typed_response_promise<done>> turn_waiters_;  ///< by what hosts
  std::map<node_id, caf::typed_response_promise<done>> leaving_;  ///< still hosting something
  std::uint64_t num_runs_ = 0;
  std::uint64_t leases_checked_ms_ = 0;
};

[[nodiscard]] job_manager_actor spawn_job_manager(caf::actor_system& system,
                                                  job_manager_config config);

}  // namespace troupe::actors
