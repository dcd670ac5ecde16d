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

caf::result<start_shard_reply> trainer_shard_state::start(const start_shard_request& request) {
  if (auto refused = refuse(request.identity)) return refused;
  if (started_ && !*started_) return to_caf(started_->error());
  if (started_) return **started_;
  auto promise = self_->make_response_promise<start_shard_reply>();
  starting_.push_back(promise);
  if (starting_.size() > 1) return promise;
  ask(
      self_, worker_, deadlines::shard_open, request,
      [this](const start_shard_reply& reply) {
        started_ = reply;
        for (auto& waiting : std::exchange(starting_, {}))
          waiting.deliver(reply);
      },
      [this](const error& e) {
        started_ = fail(e);
        for (auto& waiting : std::exchange(starting_, {}))
          waiting.deliver(to_caf(e));
      });
  return promise;
}

caf::result<shard_work_reply> trainer_shard_state::work(const shard_work& request) {
  if (auto refused = refuse(request.identity)) return refused;
  const bool repeats = config::is_planted(config::bug::work_repeated);
  const auto known = under_way_.find(request.number);
  const bool is_under_way = known != under_way_.end() && !repeats;
  if (!is_under_way && !seen_.note(request.number) && !repeats) {
    return to_caf({errc::fenced,
                   "work " + std::to_string(request.number) + " of incarnation " +
                       std::to_string(identity_.incarnation) + " was done already",
                   "a link was made anew and delivered it again", ""});
  }
  auto promise = self_->make_response_promise<shard_work_reply>();
  under_way_[request.number].push_back(promise);
  if (is_under_way) return promise;
  const bool is_writing = std::holds_alternative<shard_write_captured>(request.body);
  const auto answer = [this, number = request.number](const auto& outcome) {
    const auto ended = under_way_.extract(number);
    if (!ended) return;
    for (auto& waiting : ended.mapped())
      waiting.deliver(outcome);
  };
  ask(
      self_, is_writing ? writer_ : worker_, deadlines::shard_work, request,
      [answer](const shard_work_reply& reply) { answer(reply); },
      [answer](const error& e) { answer(to_caf(e)); });
  return promise;
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
      [this](const start_shard_request& r) { return start(r); },
      [this](const shard_work& r) { return work(r); },
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
