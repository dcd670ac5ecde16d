#pragma once

// One rank on its node: checks that a message belongs to the incarnation it was opened for, then
// hands the work to its engine_worker.
//
// Owner: node_agent. Idempotency: by the work's number; what arrives again while it is done waits
// for the same answer. Deadline: deadlines::shard_work. Threading: an actor, never blocks.
// Errors: errc::fenced for another identity, and for work that was done already; else those of the
// worker. Invariants: SHARD-1 work of another run, rank or incarnation never reaches the engine.
// SHARD-2 no work reaches it twice, however often it is delivered.

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <caf/all.hpp>

#include "actors/engine_worker.hpp"
#include "actors/logic/seen_numbers.hpp"

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
  using work_promise = caf::typed_response_promise<shard_work_reply>;
  using start_promise = caf::typed_response_promise<start_shard_reply>;

  [[nodiscard]] caf::error refuse(const shard_identity& other) const;
  caf::result<start_shard_reply> start(const start_shard_request& request);
  caf::result<shard_work_reply> work(const shard_work& request);
  void close();

  trainer_shard_actor::pointer self_;
  shard_identity identity_;
  std::shared_ptr<trainer_host> host_;
  engine_worker_actor worker_;
  engine_worker_actor writer_;  ///< writes captured state beside the worker's ops
  std::vector<start_promise> starting_;
  std::optional<result<start_shard_reply>> started_;  ///< an engine is started once, or not at all
  logic::seen_numbers seen_;
  std::map<std::uint64_t, std::vector<work_promise>> under_way_;  ///< by the work's number
};

[[nodiscard]] trainer_shard_actor spawn_trainer_shard(caf::actor_system& system,
                                                      const shard_identity& identity,
                                                      std::shared_ptr<trainer_host> host,
                                                      engine_worker_actor worker,
                                                      engine_worker_actor writer);

}  // namespace troupe::actors
