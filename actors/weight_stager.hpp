#pragma once

// The half of a replica that may take long: opens the model and prepares weights and adapters, on a
// thread of its own, while the sampler decodes on another. The sampler tells it what went live.
//
// Owner: its sampler (before that, the node_agent that opens it). Deadlines: shard_open, stage.
// Threading: detached in production, on the scheduler in simulations.
// Errors: those of replica_weights; exceptions of the maths library become errc::engine.
// Invariants: STAGER-1 messages of one sampler arrive in order, so a stage that is asked for after
// a
//             commit sees the committed bits.

#include <memory>

#include <caf/all.hpp>

#include "actors/engine_io/replica_weights.hpp"
#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

using weight_stager_actor =
    caf::typed_actor<caf::result<opened_engine>(open_sampler_request),
                     caf::result<weights_staged>(stage_weights_request),
                     caf::result<adapter_loaded>(load_adapter), caf::result<void>(weights_live)>;

class weight_stager_state {
 public:
  static constexpr const char* name = "weight_stager";

  weight_stager_state(weight_stager_actor::pointer self, const node_context& context);
  weight_stager_actor::behavior_type make_behavior();

 private:
  caf::result<opened_engine> open(const open_sampler_request& request);
  caf::result<weights_staged> stage(const stage_weights_request& request);
  caf::result<adapter_loaded> load(const load_adapter& request);

  weight_stager_actor::pointer self_;
  replica_weights weights_;
};

[[nodiscard]] weight_stager_actor spawn_weight_stager(caf::actor_system& system,
                                                      const node_context& context);

}  // namespace troupe::actors
