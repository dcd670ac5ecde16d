#include "actors/engine_worker.hpp"

#include <exception>
#include <utility>

#include "actors/runtime/errors.hpp"

namespace troupe::actors {
namespace {

template <class Answer, class Call>
caf::result<Answer> guarded(Call call) {
  try {
    result<Answer> out = call();
    if (!out) return to_caf(out.error());
    return std::move(*out);
  } catch (const std::exception& e) {
    return to_caf({errc::engine, std::string("the engine failed: ") + e.what(),
                   "out of memory, or a shape the engine cannot run", "see the node's log"});
  }
}

}  // namespace

engine_worker_state::engine_worker_state(engine_worker_actor::pointer,
                                         std::shared_ptr<trainer_host> host)
    : host_(std::move(host)) {}

engine_worker_actor::behavior_type engine_worker_state::make_behavior() {
  return {
      [this](const open_shard_request& r) {
        return guarded<open_shard_reply>([&] { return host_->open(r); });
      },
      [this](const start_shard_request& r) {
        return guarded<start_shard_reply>([&] { return host_->start(r); });
      },
      [this](const shard_work& r) {
        return guarded<shard_work_reply>([&] { return host_->run(r); });
      },
  };
}

engine_worker_actor spawn_engine_worker(caf::actor_system& system, worker_threads threads,
                                        std::shared_ptr<trainer_host> host) {
  using impl = caf::stateful_actor<engine_worker_state, engine_worker_actor::impl>;
  if (threads == worker_threads::own_thread) {
    return system.spawn<impl, caf::detached>(std::move(host));
  }
  return system.spawn<impl>(std::move(host));
}

}  // namespace troupe::actors
