#pragma once

// The actor that may block: it owns one engine and works through its mail in order, on a thread of
// its own. Exceptions of the maths library end here as errc::engine, so nothing above knows them.
// After each errc::engine it asks the device once: one that is lost stays lost for its process.
//
// Owner: its trainer_shard. Deadline: deadlines::shard_work.
// Threading: detached in production, on the scheduler in simulations.
// Errors: those of trainer_host.

#include <functional>
#include <memory>

#include <caf/all.hpp>

#include "actors/engine_io/trainer_host.hpp"
#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

using engine_worker_actor = caf::typed_actor<caf::result<open_shard_reply>(open_shard_request),
                                             caf::result<start_shard_reply>(start_shard_request),
                                             caf::result<shard_work_reply>(shard_work)>;

/// Told of a device that is lost to this process, from the worker's thread.
using device_lost_handler = std::function<void(const error& reason)>;

class engine_worker_state {
 public:
  static constexpr const char* name = "engine_worker";

  engine_worker_state(engine_worker_actor::pointer self, std::shared_ptr<trainer_host> host,
                      device_lost_handler device_lost);
  engine_worker_actor::behavior_type make_behavior();

 private:
  template <class Answer, class Call>
  caf::result<Answer> answer(const Call& call);

  std::shared_ptr<trainer_host> host_;
  device_lost_handler device_lost_;
};

[[nodiscard]] engine_worker_actor spawn_engine_worker(caf::actor_system& system,
                                                      worker_threads threads,
                                                      std::shared_ptr<trainer_host> host,
                                                      device_lost_handler device_lost);

}  // namespace troupe::actors
