#include "actors/checkpoint_store.hpp"

#include <utility>

#include "actors/runtime/ask.hpp"

namespace troupe::actors {
namespace {

template <class Answer, class Value>
caf::result<Answer> answer(result<Value> value) {
  if (!value) return to_caf(value.error());
  if constexpr (std::is_void_v<Value>) {
    return Answer{};
  } else {
    return Answer{std::move(*value)};
  }
}

}  // namespace

checkpoint_store_state::checkpoint_store_state(checkpoint_store_self::pointer self,
                                               storage::key_value_store* values,
                                               storage::blob_store* blobs)
    : self_(self), journal_(*values, *blobs), checkpoints_(*values, *blobs), runs_(*values) {}

caf::result<done> checkpoint_store_state::share_next_write(result<void> staged) {
  if (!staged) return to_caf(staged.error());
  auto promise = self_->make_response_promise<done>();
  if (waiting_.empty()) tell(self_, checkpoint_store_self{self_}, tick{});
  waiting_.push_back(promise);
  return promise;
}

void checkpoint_store_state::flush() {
  const auto written = journal_.flush();
  for (auto& promise : std::exchange(waiting_, {})) {
    if (written) {
      promise.deliver(done{});
    } else {
      promise.deliver(to_caf(written.error()));
    }
  }
}

checkpoint_store_self::behavior_type checkpoint_store_state::make_behavior() {
  return {
      [this](const append_op_request& r) { return share_next_write(journal_.append(r)); },
      [this](const finish_op_request& r) { return share_next_write(journal_.finish(r)); },
      [this](const read_log_request& r) {
        flush();
        return answer<read_log_reply>(journal_.read(r));
      },
      [this](const trim_log_request& r) { return answer<done>(journal_.trim(r)); },
      [this](const put_run_request& r) { return answer<done>(runs_.put(r.record)); },
      [this](const list_runs_request&) { return answer<run_list>(runs_.list()); },
      [this](const commit_checkpoint_request& r) {
        return answer<checkpoint_record>(checkpoints_.commit(r.manifest));
      },
      [this](const get_checkpoint_request& r) {
        return answer<checkpoint_record>(checkpoints_.get(r.checkpoint.value));
      },
      [this](const list_checkpoints_request& r) {
        return answer<checkpoint_list>(checkpoints_.list(r.run));
      },
      [this](const checkpoint_chain_request& r) {
        return answer<checkpoint_list>(checkpoints_.chain(r.checkpoint));
      },
      [this](const put_deployment_request& r) { return answer<done>(runs_.put(r.record)); },
      [this](const forget_deployment_request& r) {
        return answer<done>(runs_.forget(r.deployment));
      },
      [this](const list_deployments_request&) {
        return answer<deployment_list>(runs_.list_deployments());
      },
      [this](const ledger_entry& entry) { return answer<done>(runs_.append(entry)); },
      [this](tick) { flush(); },
  };
}

checkpoint_store_actor spawn_checkpoint_store(caf::actor_system& system,
                                              storage::key_value_store& values,
                                              storage::blob_store& blobs, worker_threads threads) {
  using impl = caf::stateful_actor<checkpoint_store_state, checkpoint_store_self::impl>;
  if (threads == worker_threads::own_thread) {
    return system.spawn<impl, caf::detached>(&values, &blobs);
  }
  return system.spawn<impl>(&values, &blobs);
}

}  // namespace troupe::actors
