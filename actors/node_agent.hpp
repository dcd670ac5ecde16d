#pragma once

// The one actor that a node offers to the control node: hosts shards and a sampler, renews the
// node's lease, and ends the process when the cluster asks for it. A node outlives its control
// node: it drops what it hosted, which the next one forms anew from its log, and waits to be
// attached to that one, because starting a process costs more than forming a set of shards. It ends
// its process when the device is lost to it, for only a new one gets that back.
//
// Owner: node main. Deadlines: shard_open, control. Threading: an actor, never blocks.
// Errors: errc::fenced for an incarnation older than the one it hosts.
// Invariants: AGENT-1 at most one rank per run: opening a newer one closes the older. AGENT-2 a
// full-parameter run is alone: opening it closes all others, opening another closes it. The job
// manager counts slots; what it gave to somebody else is stale here. AGENT-3 nothing that was
// opened for one control node is there under the next.

#include <functional>
#include <map>

#include <caf/all.hpp>

#include "actors/engine_worker.hpp"
#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

using node_agent_self =
    node_agent_actor::extend<caf::result<void>(job_manager_actor), caf::result<void>(tick),
                             caf::result<void>(leave_notice), caf::result<void>(device_lost)>;

/// What the agent tells its process, from the agent's own thread.
struct node_ties {
  /// Once, when the node should exit; empty reason: asked to.
  std::function<void(std::string reason)> leave;
  /// The control node went away: find the next one and send the agent its job manager.
  std::function<void()> control_lost;
};

class node_agent_state {
 public:
  static constexpr const char* name = "node_agent";

  node_agent_state(node_agent_self::pointer self, node_context context, node_ties ties);
  /// Whatever the node hosts ends with its agent.
  ~node_agent_state();
  node_agent_self::behavior_type make_behavior();

 private:
  void attach(job_manager_actor manager);
  struct hosted_shard {
    std::uint64_t incarnation = 0;
    node_share share = node_share::whole;
    trainer_shard_actor actor;
  };
  using opened_shard = caf::typed_response_promise<open_shard_reply, trainer_shard_actor>;
  using opened_sampler = caf::typed_response_promise<replica_status, sampler_actor>;

  caf::result<open_shard_reply, trainer_shard_actor> open(const open_shard_request& request);
  caf::result<replica_status, sampler_actor> open(const open_sampler_request& request);
  [[nodiscard]] result<void> make_room(const open_shard_request& request);
  [[nodiscard]] engine_worker_actor make_worker(std::shared_ptr<trainer_host> host);
  void close_shards();
  void down(const caf::actor_addr& source);
  void close_sampler();
  void renew_lease();
  void keep_lease();
  void hand_over();

  node_agent_self::pointer self_;
  node_context context_;
  node_ties ties_;
  job_manager_actor manager_;
  std::uint64_t attachment_ = 0;  ///< counts control nodes
  bool is_renewing_ = false;
  std::map<run_id, hosted_shard> shards_;
  sampler_actor sampler_;
};

using node_agent_impl = caf::stateful_actor<node_agent_state, node_agent_self::impl>;

/// The agent idles until it is sent its control node's job manager, with which it renews its lease.
[[nodiscard]] node_agent_self spawn_node_agent(caf::actor_system& system,
                                               const node_context& context, node_ties ties);

}  // namespace troupe::actors
