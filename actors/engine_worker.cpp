#include "actors/engine_worker.hpp"

#include <exception>
#include <utility>

#include "actors/runtime/errors.hpp"

namespace troupe::actors {
namespace {

template <class Answer, class Call>
result<Answer> guarded(const Call& call) {
  try {
    return call();
  } catch (const std::exception& e) {
    return fail(errc::engine, std::string("the engine failed: ") + e.what(),
                "out of memory, or a shape the engine cannot run", "see the node's log");
  }
}

}  // namespace

engine_worker_state::engine_worker_state(engine_worker_actor::pointer,
                                         std::shared_ptr<trainer_host> host,
                                         device_lost_handler device_lost)
    : host_(std::move(host)), device_lost_(std::move(device_lost)) {}

template <class Answer, class Call>
caf::result<Answer> engine_worker_state::answer(const Call& call) {
  result<Answer> out = guarded<Answer>(call);
  if (out) return std::move(*out);
  if (out.error().code == errc::engine) {
    const auto alive = host_->check_device();
    if (!alive) device_lost_(alive.error());
  }
  return to_caf(out.error());
}

engine_worker_actor::behavior_type engine_worker_state::make_behavior() {
  return {
      [this](const open_shard_request& r) {
        return answer<open_shard_reply>([&] { return host_->open(r); });
      },
      [this](const start_shard_request& r) {
        return answer<start_shard_reply>([&] { return host_->start(r); });
      },
      [this](const shard_work& r) {
        return answer<shard_work_reply>([&] { return host_->run(r); });
      },
  };
}

engine_worker_actor spawn_engine_worker(caf::actor_system& system, worker_threads threads,
                                        std::shared_ptr<trainer_host> host,
                                        device_lost_handler device_lost) {
  using impl = caf::stateful_actor<engine_worker_state, engine_worker_actor::impl>;
  if (threads == worker_threads::own_thread) {
    return system.spawn<impl, caf::detached>(std::move(host), std::move(device_lost));
  }
  return system.spawn<impl>(std::move(host), std::move(device_lost));
}

}  // namespace troupe::actors
