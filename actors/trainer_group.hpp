#pragma once

// The shards that hold one base model, as one thing. Forms them (idle nodes, open, start), sends
// each op's work to all ranks at once, collects the answers in rank order, and tells its run when a
// shard is gone. One formed set has one incarnation; forming a new set fences the old one.
//
// Owner: training_run. Deadlines: capacity, shard_open, shard_work.
// Threading: an actor, never blocks.
// Errors: errc::no_capacity (not enough nodes in time), errc::fenced (work for another
// incarnation), errc::peer_lost; a user error only when every rank answers it. Invariants: GROUP-1
// an answer holds every rank or is an error. GROUP-2 a rank that answers what the others do not
// makes the set unusable (errc::peer_lost), whatever it answered.

#include <memory>
#include <vector>

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

class trainer_group_state {
 public:
  static constexpr const char* name = "trainer_group";

  trainer_group_state(trainer_group_actor::pointer self, training_run_actor run,
                      job_manager_actor manager);
  trainer_group_actor::behavior_type make_behavior();

 private:
  struct forming;
  struct working;
  using forming_ptr = std::shared_ptr<forming>;

  caf::result<group_formed> form(const form_group& request);
  void open_rank(const forming_ptr& form, std::uint32_t rank, const node_agent_actor& agent);
  void start_ranks(const forming_ptr& form);
  void fail_forming(forming_ptr form, const error& reason);
  void down(const caf::actor_addr& source);
  void silent(const node_id& node);
  void drop_shards();
  void close(const trainer_shard_actor& shard, std::uint64_t incarnation, std::uint32_t rank);

  caf::result<group_reply> work(const group_work& request);
  void send(const std::shared_ptr<working>& round, group_work& work);
  void give_up(const std::shared_ptr<working>& round, const error& reason);
  void end_turn_of(const working& round);
  void settle(const std::shared_ptr<working>& round);
  void lost(const error& reason);

  trainer_group_actor::pointer self_;
  training_run_actor run_;
  job_manager_actor manager_;
  std::string hosting_;
  std::string tenant_;
  node_share share_ = node_share::whole;  ///< of its nodes
  shard_identity identity_;               ///< of the current set; rank unused
  std::uint64_t num_given_ = 0;           ///< pieces of work, in this incarnation
  std::vector<trainer_shard_actor> shards_;
  std::vector<node_id> nodes_;                    ///< of the current set
  forming_ptr forming_;                           ///< the set being formed, if any
  std::vector<std::shared_ptr<working>> rounds_;  ///< an op, and a snapshot being written
};

[[nodiscard]] trainer_group_actor spawn_trainer_group(caf::actor_system& system,
                                                      training_run_actor run,
                                                      job_manager_actor manager);

}  // namespace troupe::actors
