#include "actors/weight_stager.hpp"

#include <exception>
#include <utility>

#include "actors/runtime/clock.hpp"
#include "actors/runtime/errors.hpp"

namespace troupe::actors {
namespace {

error failed(const std::exception& e) {
  return {errc::engine, std::string("preparing weights failed: ") + e.what(),
          "out of memory, or a model the engine cannot hold", "see the node's log"};
}

}  // namespace

weight_stager_state::weight_stager_state(weight_stager_actor::pointer self,
                                         const node_context& context)
    : self_(self), weights_(*context.engines, *context.blobs) {}

caf::result<opened_engine> weight_stager_state::open(const open_sampler_request& request) {
  try {
    auto engine = weights_.open(request.model);
    if (!engine) return to_caf(engine.error());
    return opened_engine{std::move(*engine), weights_.state()};
  } catch (const std::exception& e) {
    return to_caf(failed(e));
  }
}

caf::result<weights_staged> weight_stager_state::stage(const stage_weights_request& request) {
  const auto start = now(self_->system());
  try {
    auto staged = weights_.stage(request);
    if (!staged) return to_caf(staged.error());
    return weights_staged{std::move(*staged), 1e3 * seconds_since(self_->system(), start)};
  } catch (const std::exception& e) {
    return to_caf(failed(e));
  }
}

caf::result<adapter_loaded> weight_stager_state::load(const load_adapter& request) {
  try {
    auto adapter = weights_.load_adapter(request.record);
    if (!adapter) return to_caf(adapter.error());
    return adapter_loaded{std::move(*adapter), weights_.state()};
  } catch (const std::exception& e) {
    return to_caf(failed(e));
  }
}

weight_stager_actor::behavior_type weight_stager_state::make_behavior() {
  return {
      [this](const open_sampler_request& r) { return open(r); },
      [this](const stage_weights_request& r) { return stage(r); },
      [this](const load_adapter& r) { return load(r); },
      [this](const weights_live& r) { weights_.adopt(*r.version); },
  };
}

weight_stager_actor spawn_weight_stager(caf::actor_system& system, const node_context& context) {
  using impl = caf::stateful_actor<weight_stager_state, weight_stager_actor::impl>;
  if (context.threads == worker_threads::own_thread)
    return system.spawn<impl, caf::detached>(context);
  return system.spawn<impl>(context);
}

}  // namespace troupe::actors
