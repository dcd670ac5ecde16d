#pragma once

// One rank on its node: checks that a message belongs to the incarnation it was opened for, then
// hands the work to its engine_worker.
//
// Owner: node_agent. Idempotency: none; a group never sends work twice to one incarnation.
// Deadline: deadlines::shard_work. Threading: an actor, never blocks.
// Errors: errc::fenced for another identity; else those of the worker.
// Invariants: SHARD-1 work of another run, rank or incarnation never reaches the engine.

#include <memory>

#include <caf/all.hpp>

#include "actors/engine_worker.hpp"

namespace troupe::actors {

class trainer_shard_state {
 public:
  static constexpr const char* name = "trainer_shard";

  trainer_shard_state(trainer_shard_actor::pointer self, shard_identity identity,
                      std::shared_ptr<trainer_host> host, engine_worker_actor worker,
                      engine_worker_actor writer);
  ~trainer_shard_state();
  trainer_shard_actor::behavior_type make_behavior();

 private:
  [[nodiscard]] caf::error refuse(const shard_identity& other) const;
  void close();

  trainer_shard_actor::pointer self_;
  shard_identity identity_;
  std::shared_ptr<trainer_host> host_;
  engine_worker_actor worker_;
  engine_worker_actor writer_;  ///< writes captured state beside the worker's ops
};

[[nodiscard]] trainer_shard_actor spawn_trainer_shard(caf::actor_system& system,
                                                      const shard_identity& identity,
                                                      std::shared_ptr<trainer_host> host,
                                                      engine_worker_actor worker,
                                                      engine_worker_actor writer);

}  // namespace troupe::actors
