#include "actors/trainer_shard.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"
#include "config/deadlines.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {

trainer_shard_state::trainer_shard_state(trainer_shard_actor::pointer self, shard_identity identity,
                                         std::shared_ptr<trainer_host> host,
                                         engine_worker_actor worker, engine_worker_actor writer)
    : self_(self),
      identity_(std::move(identity)),
      host_(std::move(host)),
      worker_(std::move(worker)),
      writer_(std::move(writer)) {}

trainer_shard_state::~trainer_shard_state() {
  close();
}

caf::error trainer_shard_state::refuse(const shard_identity& other) const {
  if (other == identity_ || config::is_planted(config::bug::incarnation_ignored)) return {};
  return to_caf({errc::fenced,
                 "rank " + std::to_string(identity_.rank) + " of " + identity_.run.value +
                     " serves incarnation " + std::to_string(identity_.incarnation) + ", not " +
                     std::to_string(other.incarnation),
                 "the set of shards was replaced", ""});
}

void trainer_shard_state::close() {
  if (!worker_) return;
  host_->abort();
  caf::anon_send_exit(worker_, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(writer_, caf::exit_reason::user_shutdown);
  worker_ = nullptr;
  writer_ = nullptr;
}

trainer_shard_actor::behavior_type trainer_shard_state::make_behavior() {
  return {
      [this](const start_shard_request& r) -> caf::result<start_shard_reply> {
        if (auto refused = refuse(r.identity)) return refused;
        auto promise = self_->make_response_promise<start_shard_reply>();
        relay<start_shard_reply>(self_, worker_, deadlines::shard_open, r, promise);
        return promise;
      },
      [this](const shard_work& r) -> caf::result<shard_work_reply> {
        if (auto refused = refuse(r.identity)) return refused;
        auto promise = self_->make_response_promise<shard_work_reply>();
        const bool is_writing = std::holds_alternative<shard_write_captured>(r.body);
        relay<shard_work_reply>(self_, is_writing ? writer_ : worker_, deadlines::shard_work, r,
                                promise);
        return promise;
      },
      [this](const close_shard_request& r) -> caf::result<done> {
        if (auto refused = refuse(r.identity)) return refused;
        close();
        self_->quit();
        return done{};
      },
  };
}

trainer_shard_actor spawn_trainer_shard(caf::actor_system& system, const shard_identity& identity,
                                        std::shared_ptr<trainer_host> host,
                                        engine_worker_actor worker, engine_worker_actor writer) {
  using impl = caf::stateful_actor<trainer_shard_state, trainer_shard_actor::impl>;
  return system.spawn<impl>(identity, std::move(host), std::move(worker), std::move(writer));
}

}  // namespace troupe::actors
